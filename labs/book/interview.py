"""The interview: what is asked after each question, and the wrong answers that are widespread.

`data/interview.yml` holds what stands nowhere else. Title and Chinese title come from
`questions.yml`, the ninety-second answer from the chapter, the wrong answers from `claims.yml`.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

from labs.book.chapter_text import places, short_answer
from labs.book.claims import (
    DATA,
    Claim,
    Question,
    find_claim,
    load_questions,
    read_entries,
    require,
)

FOLLOW_UPS = range(2, 4)
WRONG = range(2, 5)
WORDS = 60  # of an answer, at most
VERDICT_MEANS = {
    "limited": ": true in one case, false in another",
    "imprecise": ": false as stated, true when corrected",
    "wrong": "",
}
_TEXTS = ("ask", "ask_zh", "answer", "link")


@dataclass(frozen=True)
class FollowUp:
    """What an interviewer asks next. Texts are Markdown; `link` is an id in the chapter's page."""

    id: str
    ask: str
    ask_zh: str
    answer: str
    link: str


@dataclass(frozen=True)
class Interview:
    """One question of the interview; without a written chapter it has nothing but its title."""

    question: Question
    answer: str | None
    follow_ups: tuple[FollowUp, ...]
    wrong: tuple[Claim, ...]

    def place(self, link: str) -> tuple[str, str]:
        """The address of an id in the chapter, from the root of the site, and its heading."""
        return f"{self.question.page}#{link}", places(self.question)[link]


def load_interviews(path: str | Path | None = None) -> list[Interview]:
    """The interview on each of the questions, in order (of `path`, or `data/interview.yml`).

    A chapter that is not written has no answer and nothing after it; a written one without an
    entry has its answer alone. Raises `LedgerError` with one sentence on what is wrong.
    """
    return list(_interviews(Path(path or DATA / "interview.yml")))


@functools.cache
def _interviews(path: Path) -> tuple[Interview, ...]:
    questions = load_questions()
    entries: dict[int, dict] = {}
    for i, entry in enumerate(read_entries(path), 1):
        number = entry.get("question")
        known = type(number) is int and 1 <= number <= len(questions)
        require(known, f"entry {i}", f"`question` must be 1 to {len(questions)}")
        require(number not in entries, f"question {number}", "it has two entries")
        _check(entry, questions[number - 1])
        entries[number] = entry
    return tuple(_interview(question, entries.get(question.number)) for question in questions)


def _interview(question: Question, entry: dict | None) -> Interview:
    if not question.written:
        return Interview(question, None, (), ())
    answer = short_answer(question)
    if entry is None:
        return Interview(question, answer, (), ())
    follow_ups = tuple(FollowUp(**item) for item in entry["follow_ups"])
    wrong = tuple(find_claim(claim_id) for claim_id in entry["wrong"])
    return Interview(question, answer, follow_ups, wrong)


def _check(entry: dict, question: Question) -> None:
    """Raise `LedgerError` unless the entry is one that pages and cards can be made of."""
    name = f"question {question.number}"
    odd = sorted({"question", "follow_ups", "wrong"} ^ set(entry))
    require(not odd, name, f"missing or unknown fields: {', '.join(odd)}")
    asked, wrong = entry["follow_ups"], entry["wrong"]
    ok = isinstance(asked, list) and len(asked) in FOLLOW_UPS
    require(ok, name, "`follow_ups` must be a list of two or three")
    for item in asked:
        _check_follow_up(item, question)
    ids = [item["id"] for item in asked]
    require(len(set(ids)) == len(ids), name, "two follow-ups have one id")
    ok = isinstance(wrong, list) and len(wrong) in WRONG and len(set(wrong)) == len(wrong)
    require(ok, name, "`wrong` must be a list of two to four different claims")
    for claim_id in wrong:
        claim = find_claim(claim_id)
        require(claim.question == question.number, claim_id, f"it is not a claim of {name}")
        require(claim.verdict != "holds", claim_id, "it holds, so it is no wrong answer")


def _check_follow_up(item: object, question: Question) -> None:
    prefix = f"q{question.number:02d}-f"
    require(isinstance(item, dict), f"question {question.number}", "a follow-up must have fields")
    name = str(item.get("id", f"a follow-up of question {question.number}"))
    odd = sorted({"id", *_TEXTS} ^ set(item))
    require(not odd, name, f"missing or unknown fields: {', '.join(odd)}")
    require(re.fullmatch(rf"{prefix}\d", name), name, f"the id must read {prefix}N")
    for field in _TEXTS:
        ok = isinstance(item[field], str) and item[field].strip() and "\n" not in item[field]
        require(ok, name, f"`{field}` must be one paragraph of text")
    require(re.search(r"[\u4e00-\u9fff]", item["ask_zh"]), name, "`ask_zh` must be Chinese")
    words = len(item["answer"].split())
    require(words <= WORDS, name, f"the answer has {words} words, and {WORDS} are allowed")
    if question.written:
        here = item["link"] in places(question)
        require(here, name, f"{item['link']!r} is no heading or anchor of {question.slug}")
