"""The claims the book puts on trial: what an entry is, and how the two data files are read.

`data/claims.yml` holds one entry per claim, `data/questions.yml` one per chapter. Both are
validated here, so that the rest of the code may trust what it gets.
"""

from __future__ import annotations

import datetime
import functools
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

DATA = Path(__file__).resolve().parents[2] / "data"
VERDICTS = ("holds", "limited", "imprecise", "wrong")
_FIELDS = {
    "id", "question", "claim", "claim_zh", "verdict", "why", "experiment", "source", "checked",
}  # fmt: skip
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


class LedgerError(ValueError):
    """`data/claims.yml`, `data/questions.yml`, or a use of them, is not valid."""


@dataclass(frozen=True)
class Source:
    """A place in the literature: `key` is a BibTeX key, `where` the section, table or file.

    `through` says what was read instead, where the work itself was not; None where it was read.
    """

    key: str
    where: str
    through: str | None = None


@dataclass(frozen=True)
class Claim:
    """One entry of the ledger; `experiment` is None where only a primary source can decide."""

    id: str
    question: int
    claim: str
    claim_zh: str
    verdict: str
    why: str
    experiment: str | None
    source: tuple[Source, ...]
    checked: datetime.date | None

    @property
    def anchor(self) -> str:
        """The id of the cell that decides the claim, in the page of its chapter."""
        return f"claim-{self.id}"


@dataclass(frozen=True)
class Question:
    """One chapter; `written` says whether its notebook exists."""

    number: int
    slug: str
    title: str
    title_zh: str
    teaser: str
    written: bool

    @property
    def page(self) -> str:
        """The chapter's page, relative to the root of the site."""
        return f"chapters/{self.slug}.html"


def load_claims(path: str | Path | None = None) -> list[Claim]:
    """Every claim of the ledger (of `path`, by default `data/claims.yml`), validated.

    Raises `LedgerError` with one sentence that names the entry and what is wrong with it.
    """
    return list(_claims(Path(path or DATA / "claims.yml")))


def load_questions(path: str | Path | None = None) -> list[Question]:
    """The questions (of `path`, by default `data/questions.yml`), in order, validated."""
    return list(_questions(Path(path or DATA / "questions.yml")))


def claims_of(question: int) -> list[Claim]:
    """The claims of one question, in order."""
    return [entry for entry in load_claims() if entry.question == question]


def find_claim(claim_id: str) -> Claim:
    """The claim called `claim_id`; raises `LedgerError` when there is none."""
    for entry in load_claims():
        if entry.id == claim_id:
            return entry
    raise LedgerError(f"{claim_id!r} is not a claim of the ledger (data/claims.yml).")


def verdict_counts(claims: list[Claim]) -> dict[str, int]:
    """How many of `claims` have each verdict, every verdict named."""
    return {v: sum(entry.verdict == v for entry in claims) for v in VERDICTS}


@functools.cache
def _claims(path: Path) -> tuple[Claim, ...]:
    claims = tuple(_claim(entry, i) for i, entry in enumerate(read_entries(path), 1))
    seen: set[str] = set()
    for entry in claims:
        if entry.id in seen:
            raise LedgerError(f"{entry.id}: the id is used by two claims.")
        seen.add(entry.id)
    return claims


@functools.cache
def _questions(path: Path) -> tuple[Question, ...]:
    questions = []
    for i, entry in enumerate(read_entries(path), 1):
        try:
            question = Question(**entry)
        except TypeError as error:
            raise LedgerError(f"question {i}: its fields are not those of a question.") from error
        require(question.number == i, f"question {i}", f"its number is {question.number!r}")
        ok = question.slug.startswith(f"{i:02d}_") and isinstance(question.written, bool)
        require(ok, f"question {i}", "the slug starts with the number, `written` is true or false")
        questions.append(question)
    return tuple(questions)


def read_entries(path: Path) -> list[dict]:
    """The entries of a data file; raises `LedgerError` when it is no YAML list of mappings."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LedgerError(f"{path.name} cannot be read.") from error
    except yaml.YAMLError as error:
        raise LedgerError(f"{path.name} is not valid YAML: {error}") from error
    is_list = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    require(is_list, path.name, "it must be a list of entries")
    return entries


def _claim(entry: dict, position: int) -> Claim:
    """One validated entry; `position` names an entry that has no usable id."""
    name = str(entry.get("id", f"entry {position}"))
    odd = sorted(_FIELDS ^ set(entry))
    require(not odd, name, f"missing or unknown fields: {', '.join(odd)}")
    for field in ("id", "claim", "claim_zh", "verdict", "why"):
        ok = isinstance(entry[field], str) and entry[field].strip() and "\n" not in entry[field]
        require(ok, name, f"`{field}` must be one line of text")
    number = entry["question"]
    require(type(number) is int and 1 <= number <= 20, name, "`question` must be 1 to 20")
    well_named = re.fullmatch(rf"q{number:02d}-c\d\d", entry["id"])
    require(well_named, name, f"the id must read q{number:02d}-cNN, for its question")
    require(_CHINESE.search(entry["claim_zh"]), name, "`claim_zh` must quote the Chinese text")
    verdict = entry["verdict"]
    require(verdict in VERDICTS, name, f"{verdict!r} is not a verdict ({', '.join(VERDICTS)})")
    experiment = entry["experiment"]
    ok = experiment is None or (isinstance(experiment, str) and experiment.strip())
    require(ok, name, "`experiment` must be text or null")
    sources = _sources(entry["source"], name)
    require(experiment or sources, name, "without an experiment it needs a primary source")
    checked = entry["checked"]
    ok = checked is None or type(checked) is datetime.date
    require(ok, name, "`checked` must be a date (YYYY-MM-DD) or null")
    return Claim(**{**entry, "source": sources})


def _sources(value: object, name: str) -> tuple[Source, ...]:
    require(isinstance(value, list), name, "`source` must be a list of {key, where}")
    for item in value:
        ok = (
            isinstance(item, dict)
            and set(item) - {"through"} == {"key", "where"}
            and all(isinstance(text, str) for text in item.values())
            and re.fullmatch(r"[a-z0-9-]+", item["key"])
        )
        require(ok, name, "every source needs a BibTeX `key` and a `where` (text, may be empty)")
        through = item.get("through", "-")
        ok = through.strip() and "\n" not in through
        require(ok, name, "`through` must be one line of text, or be left out")
    return tuple(Source(**item) for item in value)


def require(condition: object, name: str, problem: str) -> None:
    """Raise `LedgerError` with one sentence, the entry's name first, unless `condition` is true."""
    if not condition:
        raise LedgerError(f"{name}: {problem}.")
