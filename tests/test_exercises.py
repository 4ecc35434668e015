"""Exercises: right answers pass, likely mistakes get their own hint, bad entries are told."""

import numpy as np
import pytest
import torch
import yaml

from labs.book.exercises import ExerciseError, find_exercise, load_exercises, plain
from labs.book.practice import check

EXERCISES = load_exercises()
NUMBERS = {
    "id": "q01-e1",
    "asks": "two numbers",
    "answer": [2.0, 0.5],
    "absolute": 0.01,
    "hint": "Think.",
    "mistakes": [
        {"answer": [0.5, 2.0], "hint": "Swapped."},
        {"answer": [4.0, 0.5], "hint": "Squared."},
    ],
}
FUNCTION = {
    "id": "q01-e2",
    "asks": "a function of two numbers",
    "cases": [{"arguments": [2, 3], "returns": 5}, {"arguments": [1, 1], "returns": 2}],
    "hint": "Add.",
    "mistakes": [
        {"returns": [6, 1], "hint": "You multiplied."},
        {"returns": [-1, 0], "hint": "You subtracted."},
    ],
}


@pytest.fixture
def load(tmp_path):
    """Load entries as the file of question 1."""

    def loaded(*entries):
        (tmp_path / "01.yml").write_text(yaml.safe_dump(list(entries)), encoding="utf-8")
        load_exercises.cache_clear()
        return load_exercises(tmp_path)

    yield loaded
    load_exercises.cache_clear()


@pytest.fixture
def said(load, monkeypatch, capsys):
    """`said(id, answer)`: the text that `check` shows, on the two entries above."""
    known = load(NUMBERS, FUNCTION)
    monkeypatch.setattr("labs.book.practice.find_exercise", known.__getitem__)
    shown = []
    monkeypatch.setattr("labs.book.practice.display", lambda data, raw: shown.append(data))

    def text(name, answer):
        check(name, answer)
        return shown[-1]["text/plain"]

    return text


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda exercise: exercise.id)
def test_the_answer_is_accepted_and_each_mistake_gets_its_own_hint(exercise):
    assert exercise.hint_for(exercise.answer) is None
    assert len(exercise.mistakes) >= 2
    for answer, hint in exercise.mistakes:
        assert exercise.hint_for(answer) == hint
    assert exercise.hint_for("no such answer") is not None


@pytest.mark.parametrize(
    "answer",
    [[2, 0.5], (2.004, 0.5), np.array([2.0, 0.5]), torch.tensor([2.0, 0.5])],
    ids=["list", "tuple", "NumPy", "PyTorch"],
)
def test_a_right_answer_in_any_form_is_accepted(said, answer):
    assert said("q01-e1", answer) == "q01-e1 · Accepted."


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ([0.5, 2.0], "Swapped."),
        ([4, 0.505], "Squared."),
        ([2.02, 0.5], "Think."),
        ([2.0, float("nan")], "Think."),
        ([True, 0.5], "Think."),
        ([2.0], "The answer is a list of 2: two numbers."),
        (2.0, "The answer is a list of 2: two numbers."),
        ({"a": 2.0}, "The answer is a list of 2: two numbers."),
    ],
)
def test_a_wrong_answer_gets_the_hint_that_fits(said, answer, hint):
    assert said("q01-e1", answer) == f"q01-e1 · Not yet. {hint}"


def test_a_function_is_judged_by_what_it_returns(said):
    assert said("q01-e2", lambda a, b: a + b) == "q01-e2 · Accepted."
    assert said("q01-e2", lambda a, b: torch.tensor(a) * b).endswith("You multiplied.")
    assert said("q01-e2", max).endswith("Not yet. Add.")
    assert "raised ZeroDivisionError" in said("q01-e2", lambda a, b: a / 0)
    assert "Give the function itself" in said("q01-e2", 5)


def test_dots_ask_for_the_answer(said):
    assert said("q01-e1", ...) == "q01-e1 · Your answer in place of the dots: two numbers."


def test_words_are_compared_whatever_their_case(load):
    word = {**NUMBERS, "answer": "never", "mistakes": [
        {"answer": "always", "hint": "a"}, {"answer": "once", "hint": "b"}]}  # fmt: skip
    exercise = load(word)["q01-e1"]
    assert exercise.hint_for(" Never ") is None
    assert exercise.hint_for("nevermore") == "Think."
    pair = {**word, "answer": "0,2"}
    load_exercises.cache_clear()
    assert load(pair)["q01-e1"].hint_for("0, 2") is None


def without(key):
    return {name: value for name, value in NUMBERS.items() if name != key}


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (without("hint"), "`hint` must be text"),
        (without("answer"), "give `answer` or `cases`"),
        (without("mistakes"), "`mistakes` is a list"),
        ({**NUMBERS, "mistakes": NUMBERS["mistakes"][:1]}, "two mistakes or more"),
        ({**NUMBERS, "absolute": 3.0}, "is accepted as the answer"),
        ({**NUMBERS, "mistakes": 2 * NUMBERS["mistakes"][:1]}, "a hint of its own"),
        ({**NUMBERS, "tolerance": 1}, "unknown fields: tolerance"),
        ({**NUMBERS, "answer": ["2e11", 0.5]}, "'2e11' is a word to YAML"),
        ({**NUMBERS, "answer": [True, False]}, "truth values can be guessed"),
        ({**NUMBERS, "id": "q01-e7"}, "its id is 'q01-e7'"),
    ],
)
def test_a_bad_entry_is_told_in_one_sentence(load, entry, problem):
    with pytest.raises(ExerciseError, match=f"q01-e1.*{problem}"):
        load(entry)


def test_an_unknown_exercise_is_told():
    with pytest.raises(ExerciseError, match=r"'q99-e1' is not in data/exercises/99.yml"):
        find_exercise("q99-e1")


def test_plain_opens_what_holds_numbers():
    given = {"a": (np.float32(1), torch.tensor([[2]])), "b": np.bool_(True)}
    assert plain(given) == {"a": [1.0, [[2]]], "b": True}
