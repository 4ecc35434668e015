"""The ledger can be downloaded: both files hold every entry, whole."""

import csv
import io
import json

from labs.book.claims import load_claims, load_questions
from labs.book.ledger_downloads import FIELDS, as_csv, write_downloads


def test_both_files_hold_every_claim(tmp_path):
    write_downloads(tmp_path)
    from_json = json.loads((tmp_path / "ledger.json").read_text(encoding="utf-8"))
    text = (tmp_path / "ledger.csv").read_text(encoding="utf-8-sig")
    from_csv = list(csv.DictReader(io.StringIO(text)))
    claims = load_claims()
    assert [row["id"] for row in from_json] == [claim.id for claim in claims]
    assert [list(row) for row in from_csv] == [FIELDS] * len(claims)
    for claim, a, b in zip(claims, from_json, from_csv, strict=True):
        assert (a["claim_zh"], a["verdict"]) == (claim.claim_zh, claim.verdict)
        assert {key: str(value) for key, value in a.items()} == b


def test_spreadsheets_read_the_chinese():
    assert as_csv().startswith("\ufeffid,")


def test_a_decided_entry_names_its_cell(tmp_path):
    write_downloads(tmp_path)
    rows = json.loads((tmp_path / "ledger.json").read_text(encoding="utf-8"))
    written = {q.number: q.page for q in load_questions() if q.written}
    for claim, row in zip(load_claims(), rows, strict=True):
        decided = claim.experiment is not None and claim.question in written
        where = f"{written[claim.question]}#{claim.anchor}" if decided else ""
        assert row["decided_at"] == where
