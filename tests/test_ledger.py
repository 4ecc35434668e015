"""The claim ledger: verdicts, the check of a claim, the data files and their validation."""

import copy
import itertools
import re

import nbformat
import numpy as np
import pytest
import torch
import yaml
from nbclient import NotebookClient
from pybtex.database import parse_file

from labs.book import ledger, ledger_page
from labs.book.cards import MARKS, card_html, card_text, sources_text, summary_html
from labs.book.claims import (
    DATA,
    VERDICTS,
    Claim,
    LedgerError,
    Source,
    load_claims,
    load_questions,
    verdict_counts,
)

PATTERNS = [list(p) for n in range(4) for p in itertools.product((True, False), repeat=n)]


def fits(verdict: str, stated: list[bool], corrected: list[bool]) -> bool:
    """The rules of the ledger, written a second time as a table."""
    kind = "none" if not stated else {1: "true", 0: "false"}.get(sum(stated) / len(stated), "mixed")
    return (verdict, kind, bool(corrected) and all(corrected), bool(corrected)) in {
        ("holds", "true", False, False),
        ("limited", "mixed", False, False),
        ("wrong", "false", False, False),
        ("imprecise", "false", True, True),
    }


@pytest.mark.parametrize("verdict", VERDICTS)
def test_judge_follows_the_rules(verdict):
    for stated, corrected in itertools.product(PATTERNS, PATTERNS):
        reason = ledger.judge(verdict, stated, corrected)
        assert (reason is None) == fits(verdict, stated, corrected), (stated, corrected)
        assert reason is None or (reason.strip() and "\n" not in reason)


def test_no_observation_fits_two_verdicts_and_every_verdict_can_be_observed():
    seen = set()
    for stated, corrected in itertools.product(PATTERNS, PATTERNS):
        fitting = [v for v in VERDICTS if ledger.judge(v, stated, corrected) is None]
        assert len(fitting) <= 1, (stated, corrected, fitting)
        if stated and (not corrected or (not any(stated) and all(corrected))):
            assert len(fitting) == 1, "an admissible observation needs exactly one verdict"
        seen.update(fitting)
    assert seen == set(VERDICTS)


def test_judge_refuses_an_unknown_verdict():
    with pytest.raises(LedgerError, match="not a verdict"):
        ledger.judge("true", [True], [])


def claim_with(verdict: str) -> Claim:
    """Some claim of the ledger that has this verdict and an experiment."""
    return next(c for c in load_claims() if c.verdict == verdict and c.experiment)


OBSERVED = {
    "holds": ([True, True], []),
    "limited": ([True, False], []),
    "imprecise": ([False], [True]),
    "wrong": ([False, False], []),
}


def observe(entry: Claim, stated: list[bool], corrected: list[bool]) -> list:
    """Run `claim` on these observations; returns what it displays, as (data, metadata)."""
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "display", lambda data, raw, metadata: shown.append((data, metadata)))
        with ledger.claim(entry.id) as c:
            for truth in stated:
                c.stated(truth, "seen <here>")
            for truth in corrected:
                c.corrected(truth, "mended")
    return shown


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_confirmed_verdict_shows_one_card(verdict):
    entry = claim_with(verdict)
    ((data, metadata),) = observe(entry, *OBSERVED[verdict])
    assert data["text/plain"] == f"{verdict} · {entry.id} · {entry.why}"
    assert "\n" not in data["text/plain"]
    assert f'class="claim-card verdict-{verdict}"' in data["text/html"]
    stated, corrected = OBSERVED[verdict]
    assert metadata["claim"] == {
        "id": entry.id,
        "stated": [{"true": truth, "observed": "seen <here>"} for truth in stated],
        "corrected": [{"true": truth, "observed": "mended"} for truth in corrected],
    }


@pytest.mark.parametrize(
    ("verdict", "observed"), [(v, o) for v in VERDICTS for o in VERDICTS if v != o]
)
def test_an_observation_that_contradicts_the_verdict_fails(verdict, observed):
    entry = claim_with(verdict)
    with pytest.raises(ledger.ClaimContradicted, match=entry.id):
        observe(entry, *OBSERVED[observed])


def test_the_error_says_what_was_observed():
    entry = claim_with("holds")
    with pytest.raises(ledger.ClaimContradicted, match="as stated false: seen <here>"):
        observe(entry, [False], [])
    with pytest.raises(ledger.ClaimContradicted, match="nothing"):
        observe(entry, [], [])


def test_an_exception_in_the_body_passes_through(capsys):
    with pytest.raises(ZeroDivisionError), ledger.claim(claim_with("holds").id) as c:
        c.stated(True, "before the fault")
        raise ZeroDivisionError
    assert capsys.readouterr().out == "", "no card is shown"


@pytest.mark.parametrize("truth", [True, np.bool_(True), torch.tensor(True)])
def test_booleans_of_libraries_are_accepted(truth):
    observe(claim_with("holds"), [truth], [])


@pytest.mark.parametrize("truth", [1, 0.5, "yes", None, torch.tensor(1.0)])
def test_what_is_not_a_truth_value_is_refused(truth):
    with pytest.raises(TypeError, match="true or false"):
        observe(claim_with("holds"), [truth], [])


def test_an_observation_needs_words():
    with pytest.raises(TypeError, match="few words"):
        ledger.Observations().stated(True, " ")


def test_only_claims_with_an_experiment_can_be_tried():
    with pytest.raises(LedgerError, match="not a claim"), ledger.claim("q06-c99"):
        pass
    name = next(c.id for c in load_claims() if c.experiment is None)
    with pytest.raises(LedgerError, match="source decides"), ledger.claim(name):
        pass


def test_the_observations_survive_a_notebook(tmp_path):
    """nbclient keeps the metadata of a display, and nbformat writes and reads them back."""
    entry = claim_with("limited")
    code = (
        f"from labs.book.ledger import claim\nwith claim({entry.id!r}) as c:\n"
        "    c.stated(True, 'here')\n    c.stated(False, 'there')"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    nbformat.write(notebook, tmp_path / "n.ipynb")
    (output,) = nbformat.read(tmp_path / "n.ipynb", as_version=4).cells[0].outputs
    record = output.metadata["claim"]
    assert [o["true"] for o in record["stated"]] == [True, False]
    assert output.data["text/plain"] == card_text(entry)


ODD = Claim(
    "q01-c01", 1, "a < b & <b>c</b>", "甲<乙", "wrong", "x > y", "run it", (Source("k", ""),), None
)


def test_html_is_escaped_and_names_the_verdict():
    for html in (card_html(ODD), summary_html([ODD])):
        assert "<b>c" not in html and "a &lt; b &amp; &lt;b&gt;c&lt;/b&gt;" in html
        assert "甲&lt;乙" in html and "x &gt; y" in html
        assert f"</span> {ODD.verdict}</strong>" in html, "the verdict stands there as text"
        assert "<script" not in html and "onclick" not in html
    assert set(MARKS) == set(VERDICTS)


def test_cards_and_summaries_link_both_ways():
    assert 'href="../ledger.html#q01-c01"' in card_html(ODD)
    assert 'href="#claim-q01-c01"' in summary_html([ODD])
    summary = ledger.verdict_summary(14)
    lines = repr(summary).splitlines()
    assert len(lines) == len(ledger.claims_of(14)) == 15
    assert "decided by rajbhandari2020zero, abstract" in summary._repr_html_()
    with pytest.raises(LedgerError, match="no claim"):
        ledger.verdict_summary(21)


# The data files -----------------------------------------------------------------------------


def test_the_ledger_is_whole():
    claims = load_claims()
    assert len(claims) == 213
    assert sum(verdict_counts(claims).values()) == 213
    assert {c.question for c in claims} == set(range(1, 21))
    for number in range(1, 21):
        ids = [c.id for c in ledger.claims_of(number)]
        assert ids == [f"q{number:02d}-c{i:02d}" for i in range(1, len(ids) + 1)]


def test_every_quotation_is_chinese_text():
    for entry in load_claims():
        for piece in entry.claim_zh.split("……"):
            assert piece.strip() == piece and piece, entry.id
        assert re.search(r"[\u4e00-\u9fff]{2}", entry.claim_zh), entry.id
        assert "*" not in entry.claim_zh and "`" not in entry.claim_zh, entry.id


def test_every_source_is_in_the_bibliography():
    known = parse_file(str(DATA.parent / "references.bib")).entries
    for entry in load_claims():
        for source in entry.source:
            assert source.key in known, f"{entry.id} cites {source.key}"
    for key, work in known.items():
        fields = work.fields
        assert work.persons.get("author") and fields.get("title"), key
        assert re.fullmatch(r"(19|20)\d\d", fields.get("year", "")), key
        assert {"eprint", "doi", "url"} & set(fields), f"{key} cannot be found without an address"
        if "eprint" in fields:
            assert re.fullmatch(r"\d{4}\.\d{4,5}", fields["eprint"]), key
    assert list(known) == sorted(known), "references.bib is ordered by key"


def test_no_draft_marks_are_left():
    for entry in load_claims():
        text = f"{entry.claim} {entry.why} {entry.experiment} {entry.source}"
        assert "[verify]" not in text and "TODO" not in text, entry.id


def test_entries_of_written_chapters_were_checked():
    for question in load_questions():
        for entry in ledger.claims_of(question.number):
            if question.written:
                assert entry.checked and entry.source, f"{entry.id} was not compared with a source"


def test_the_questions_are_whole():
    questions = load_questions()
    assert [q.number for q in questions] == list(range(1, 21))
    assert len({q.slug for q in questions}) == 20
    for question in questions:
        assert question.title.endswith("?") and question.title_zh.endswith("？")
        assert 30 <= len(question.teaser) <= 110, f"{question.slug}: a teaser is one line"


# Validation ---------------------------------------------------------------------------------

GOOD = {
    "id": "q06-c01",
    "question": 6,
    "claim": "A claim.",
    "claim_zh": "一个断言",
    "verdict": "holds",
    "why": "Because.",
    "experiment": "Measure it.",
    "source": [{"key": "vaswani2017attention", "where": "sec. 3"}],
    "checked": None,
}
FAULTS = {
    "an unknown verdict": ({"verdict": "true"}, "'true' is not a verdict"),
    "no verdict": ({"verdict": None}, "`verdict` must be one line of text"),
    "an id of another question": ({"id": "q07-c01"}, "the id must read q06-cNN"),
    "a question out of range": ({"question": 21}, "`question` must be 1 to 20"),
    "a question in words": ({"question": "6"}, "`question` must be 1 to 20"),
    "an empty reason": ({"why": " "}, "`why` must be one line of text"),
    "two lines": ({"why": "a\nb"}, "`why` must be one line of text"),
    "no Chinese": ({"claim_zh": "words"}, "`claim_zh` must quote the Chinese text"),
    "nothing that decides": ({"experiment": None, "source": []}, "it needs a primary source"),
    "an empty experiment": ({"experiment": ""}, "`experiment` must be text or null"),
    "a source as text": ({"source": "Vaswani 2017"}, "`source` must be a list"),
    "a source without key": ({"source": [{"where": "sec. 3"}]}, "every source needs"),
    "a key with spaces": ({"source": [{"key": "a b", "where": ""}]}, "every source needs"),
    "an empty `through`": (
        {"source": [{"key": "k", "where": "", "through": " "}]},
        "`through` must be one line of text, or be left out",
    ),
    "a `through` that is no text": (
        {"source": [{"key": "k", "where": "", "through": None}]},
        "every source needs",
    ),
    "an unknown field of a source": (
        {"source": [{"key": "k", "where": "", "page": "3"}]},
        "every source needs",
    ),
    "a date in words": ({"checked": "today"}, "`checked` must be a date"),
    "an unknown field": ({"sauce": 1}, "missing or unknown fields: sauce"),
}


def test_a_good_entry_is_read(yaml_file):
    (entry,) = load_claims(yaml_file(GOOD))
    assert entry.source == (Source("vaswani2017attention", "sec. 3"),)
    assert entry.anchor == "claim-q06-c01"


def test_what_was_read_instead_of_a_source_stands_beside_it(yaml_file):
    item = GOOD["source"][0] | {"through": "abstract <only>"}
    (entry,) = load_claims(yaml_file(GOOD | {"source": [item]}))
    (source,) = entry.source
    assert source == Source("vaswani2017attention", "sec. 3", "abstract <only>")
    assert ledger_page._source(source).endswith("</a>, sec. 3 (read: abstract &lt;only&gt;)")
    assert sources_text(entry) == "vaswani2017attention, sec. 3 (read: abstract <only>)"
    assert "read:" not in ledger_page._source(Source("vaswani2017attention", "sec. 3"))


@pytest.mark.parametrize(("change", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_a_faulty_entry_is_named_in_one_sentence(yaml_file, change, message):
    with pytest.raises(LedgerError, match=re.escape(message)) as error:
        load_claims(yaml_file(GOOD | change))
    assert str(error.value).startswith(("q06-c01: ", "q07-c01: "))
    assert "\n" not in str(error.value)


def test_faults_of_the_whole_file(yaml_file, tmp_path):
    with pytest.raises(LedgerError, match="used by two claims"):
        load_claims(yaml_file(GOOD, copy.deepcopy(GOOD)))
    missing = {key: value for key, value in GOOD.items() if key != "checked"}
    with pytest.raises(LedgerError, match="missing or unknown fields: checked"):
        load_claims(yaml_file(missing | {"id": "q06-c02"}))
    with pytest.raises(LedgerError, match="cannot be read"):
        load_claims(tmp_path / "absent.yml")
    for name, text, message in [
        ("broken.yml", "- [", "not valid YAML"),
        ("words.yml", "just words", "must be a list"),
    ]:
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(LedgerError, match=message):
            load_claims(tmp_path / name)


def test_faulty_questions_are_refused(tmp_path):
    good = {"number": 1, "slug": "01_a", "title": "A?", "title_zh": "甲？", "teaser": "t"}
    good["written"] = True
    for i, change in enumerate([{"number": 2}, {"slug": "02_a"}, {"written": "yes"}, {"extra": 1}]):
        path = tmp_path / f"{i}.yml"
        path.write_text(yaml.safe_dump([good | change]), encoding="utf-8")
        with pytest.raises(LedgerError, match="question 1"):
            load_questions(path)
