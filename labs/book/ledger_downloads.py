"""The ledger as files: `ledger.csv` and `ledger.json`, for readers who compute with it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from labs.book.cards import sources_text
from labs.book.claims import Claim, load_claims, load_questions

FIELDS = [
    "id", "question", "claim", "claim_zh", "verdict", "why", "experiment", "sources", "checked",
    "decided_at",
]  # fmt: skip


def rows() -> list[dict[str, object]]:
    """Every claim as plain data; `decided_at` is the page and cell that decide it, if any."""
    pages = {q.number: q.page for q in load_questions() if q.written}
    return [_row(entry, pages.get(entry.question)) for entry in load_claims()]


def _row(entry: Claim, page: str | None) -> dict[str, object]:
    plain = {name: getattr(entry, name) for name in FIELDS if hasattr(entry, name)}
    return plain | {
        "experiment": entry.experiment or "",
        "sources": sources_text(entry),
        "checked": entry.checked.isoformat() if entry.checked else "",
        "decided_at": f"{page}#{entry.anchor}" if page and entry.experiment else "",
    }


def as_csv() -> str:
    """The ledger as CSV with a header; the mark at the start lets spreadsheets read Chinese."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows())
    return "\ufeff" + buffer.getvalue()


def write_downloads(folder: Path) -> None:
    """Write both files into `folder`."""
    (folder / "ledger.csv").write_text(as_csv(), encoding="utf-8")
    text = json.dumps(rows(), ensure_ascii=False, indent=1)
    (folder / "ledger.json").write_text(text + "\n", encoding="utf-8")
