"""The interview: its data, the errors of its reader, and that its numbers stand in the chapters."""

import dataclasses
import importlib.util
import json
import re

import pytest

from labs.book import interview
from labs.book.chapter_text import notebook_path, places, short_answer
from labs.book.claims import LedgerError, Question, claims_of, load_questions
from labs.book.interview import FOLLOW_UPS, WRONG, Interview, load_interviews
from tests.browser import ROOT

INTERVIEWS = load_interviews()
WRITTEN = [entry for entry in INTERVIEWS if entry.question.written]
NUMBER = re.compile(r"(?<![\w.,])\d[\d,]*(?:\.\d+)?")


def name(entry: Interview) -> str:
    return entry.question.slug


def test_every_written_question_has_an_interview():
    assert [entry.question for entry in INTERVIEWS] == load_questions()
    for entry in WRITTEN:
        assert entry.answer and len(entry.follow_ups) in FOLLOW_UPS, name(entry)
        assert len(entry.wrong) in WRONG, name(entry)


def test_ids_of_cards_are_unique_and_wrong_answers_do_not_hold():
    ids = [follow_up.id for entry in WRITTEN for follow_up in entry.follow_ups]
    assert len(set(ids)) == len(ids)
    assert all(claim.verdict != "holds" for entry in WRITTEN for claim in entry.wrong)


@pytest.mark.parametrize("entry", WRITTEN, ids=name)
def test_the_answer_is_the_chapters_own(entry):
    cells = json.loads(notebook_path(entry.question).read_text("utf-8"))["cells"]
    (source,) = ("".join(c["source"]) for c in cells if "## Short answer" in "".join(c["source"]))
    assert source == f"## Short answer\n\n{entry.answer}"
    assert len(entry.answer.split()) <= 150


# Numbers ------------------------------------------------------------------------------------


def numbers(text: str) -> list[tuple[float, int]]:
    """Each number of a text, and how many decimals it has."""
    plain = (match.replace(",", "") for match in NUMBER.findall(text))
    return [(float(n), len(n.partition(".")[2])) for n in plain]


def printed(question: Question) -> set[float]:
    """The numbers that a chapter shows: in its prose, its outputs and its observations."""
    found = set()
    for cell in json.loads(notebook_path(question).read_text("utf-8"))["cells"]:
        shown = ["".join(cell["source"])] if cell["cell_type"] == "markdown" else []
        for output in cell.get("outputs", []):
            shown.append("".join(output.get("text", output.get("data", {}).get("text/plain", ""))))
            shown.append(json.dumps(output.get("metadata", {}).get("claim", "")))
        for text in shown:
            found.update(value for value, _ in numbers(re.sub(r"(?<=\d)[%e]", " ", text)))
    return found


def missing(answer: str, shown: set[float]) -> list[float]:
    """The numbers of an answer that are no printed number, rounded; percents may be shares."""
    lost = []
    for value, digits in numbers(answer):
        near = 0.5 * 10**-digits + 1e-9
        if not any(abs(x - value) <= near or abs(100 * x - value) <= near for x in shown):
            lost.append(value)
    return lost


@pytest.mark.parametrize("entry", WRITTEN, ids=name)
def test_numbers_of_the_answers_are_printed_by_the_chapter(entry):
    shown = printed(entry.question)
    for follow_up in entry.follow_ups:
        lost = missing(follow_up.answer, shown)
        assert not lost, f"{follow_up.id}: {lost} stand nowhere in chapter {name(entry)}"


def test_a_number_that_no_chapter_prints_is_found():
    shown = {0.0037, 4.367, 0.963, 8192.0, 8.69}
    assert missing("4.37 of $8192$, 96 %, 0.0037, $8.7\\cdot", shown) == []
    assert missing("4.38, 8,193, 97 %, 0.0047, 8.6", shown) == [4.38, 8193, 97, 0.0047, 8.6]


# Where things stand in a chapter ------------------------------------------------------------


@pytest.fixture
def small_chapter(tmp_path, monkeypatch):
    def write(*cells: str) -> Question:
        (tmp_path / "chapters").mkdir()
        notebook = {"cells": [{"cell_type": "markdown", "source": [cell]} for cell in cells]}
        (tmp_path / "chapters" / "01_small.ipynb").write_text(json.dumps(notebook))
        monkeypatch.setattr("labs.book.chapter_text.DATA", tmp_path / "data")
        return Question(1, "01_small", "Small?", "小？", "Small.", True)

    return write


def test_places_are_headings_and_anchors_outside_of_code(small_chapter):
    question = small_chapter(
        "# Small?\n## 1. One",
        "## Lab\n### Why $\\sqrt{d_k}$?\n(claim-q01-c01)=",
        "**2. A census.** Text.\n(there)=\n```python\n# no heading\n```\n**1.** An exercise.",
    )
    assert places(question) == {
        "one": "One",
        "lab": "Lab",
        "why-sqrt-d-k": "Why $\\sqrt{d_k}$?",
        "claim-q01-c01": "Why $\\sqrt{d_k}$?",
        "there": "A census",
    }
    with pytest.raises(LedgerError, match="01_small: the notebook has no section"):
        short_answer(question)


def test_a_missing_notebook_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("labs.book.chapter_text.DATA", tmp_path / "data")
    with pytest.raises(LedgerError, match=r"01_none.ipynb cannot be read"):
        places(Question(1, "01_none", "None?", "无？", "None.", True))


# The reader ---------------------------------------------------------------------------------

FOLLOW_UP = {"id": "q06-f1", "ask": "Why?", "ask_zh": "为什么？", "answer": "So.", "link": "lab"}
GOOD = {
    "question": 6,
    "wrong": ["q06-c02", "q06-c03"],
    "follow_ups": [FOLLOW_UP, FOLLOW_UP | {"id": "q06-f2"}],
}
HOLDS = next(claim.id for claim in claims_of(6) if claim.verdict == "holds")
FAULTS = {
    "another field": (GOOD | {"wright": []}, "question 6: missing or unknown fields: wright"),
    "a question out of range": (GOOD | {"question": 21}, "entry 1: `question` must be 1 to 20"),
    "one follow-up": (
        GOOD | {"follow_ups": [FOLLOW_UP]},
        "question 6: `follow_ups` must be a list of two or three",
    ),
    "one id twice": (
        GOOD | {"follow_ups": [FOLLOW_UP, FOLLOW_UP]},
        "question 6: two follow-ups have one id",
    ),
    "a follow-up as text": (
        GOOD | {"follow_ups": ["Why?", "How?"]},
        "question 6: a follow-up must have fields",
    ),
    "one wrong answer": (
        GOOD | {"wrong": ["q06-c02"]},
        "question 6: `wrong` must be a list of two to four different claims",
    ),
    "an unknown claim": (GOOD | {"wrong": ["q06-c02", "q06-c99"]}, "'q06-c99' is not a claim"),
    "a claim of another question": (
        GOOD | {"wrong": ["q06-c02", "q07-c03"]},
        "q07-c03: it is not a claim of question 6",
    ),
    "a claim that holds": (GOOD | {"wrong": ["q06-c02", HOLDS]}, f"{HOLDS}: it holds"),
}
FAULTS_OF_FOLLOW_UPS = {
    "an id of another question": ({"id": "q07-f1"}, "q07-f1: the id must read q06-fN"),
    "an unknown field": ({"why": "x"}, "q06-f1: missing or unknown fields: why"),
    "no answer": ({"answer": " "}, "q06-f1: `answer` must be one paragraph of text"),
    "two paragraphs": ({"answer": "a\n\nb"}, "q06-f1: `answer` must be one paragraph of text"),
    "no Chinese": ({"ask_zh": "Why?"}, "q06-f1: `ask_zh` must be Chinese"),
    "too long": ({"answer": "word " * 61}, "q06-f1: the answer has 61 words, and 60 are allowed"),
    "a dead link": ({"link": "nowhere"}, "q06-f1: 'nowhere' is no heading or anchor of 06_att"),
}


def test_a_good_entry_is_read_and_other_questions_have_their_answer_alone(yaml_file):
    read = load_interviews(yaml_file(GOOD))
    sixth = read[5]
    assert [follow_up.id for follow_up in sixth.follow_ups] == ["q06-f1", "q06-f2"]
    assert [claim.id for claim in sixth.wrong] == GOOD["wrong"]
    assert sixth.place("lab") == ("chapters/06_attention.html#lab", "Lab")
    assert read[0].answer and read[0].follow_ups == read[0].wrong == ()


@pytest.mark.parametrize(("entry", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_a_faulty_entry_is_named_in_one_sentence(yaml_file, entry, message):
    with pytest.raises(LedgerError, match=re.escape(message)) as error:
        load_interviews(yaml_file(entry))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"), FAULTS_OF_FOLLOW_UPS.values(), ids=FAULTS_OF_FOLLOW_UPS.keys()
)
def test_a_faulty_follow_up_is_named(yaml_file, change, message):
    entry = GOOD | {"follow_ups": [FOLLOW_UP | change, FOLLOW_UP | {"id": "q06-f2"}]}
    with pytest.raises(LedgerError, match=re.escape(message)):
        load_interviews(yaml_file(entry))


def test_two_entries_of_one_question_are_refused(yaml_file):
    with pytest.raises(LedgerError, match="question 6: it has two entries"):
        load_interviews(yaml_file(GOOD, GOOD))


def test_a_chapter_that_is_not_written_shows_its_title_alone(yaml_file, monkeypatch):
    questions = [dataclasses.replace(question, written=False) for question in load_questions()]
    monkeypatch.setattr(interview, "load_questions", lambda: questions)
    read = load_interviews(yaml_file(GOOD | {"wrong": ["q06-c02", "q06-c04"]}))
    assert {(entry.answer, entry.follow_ups, entry.wrong) for entry in read} == {(None, (), ())}

    spec = importlib.util.spec_from_file_location("page", ROOT / "_ext" / "interview_page.py")
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    directive = object.__new__(page.InterviewDirective)
    shown = directive.question(read[5]).pformat()
    assert "6. What is the attention mechanism?" in shown and "not yet written" in shown
    assert "ledger.html#ledger-q06" in shown and "<details" not in shown
