"""Exercises that answer back: `check("q14-e1", answer)` accepts or says what to look at again.

`data/exercises/NN.yml` holds, for each exercise of a chapter, what its answer is and the wrong
answers that a reader is likely to give, each with its own hint:

    - id: q14-e1
      asks: four numbers, in GB          # the form of the answer, in a few words
      answer: [120.0, 35.6, 21.6, 7.5]   # number, word, list or mapping; or `cases` of a function:
                                         # [{arguments: [2, 3], returns: 5}, ...]
      absolute: 0.05                     # or relative; without either, numbers must be equal
      mistakes:                          # at least two; for a function, `returns` case by case
      - answer: [120.0, 31.4, 16.6, 7.5]
        hint: You divided the weights too. Stage 1 partitions the optimizer states only.
      hint: Write down the bytes of each state first.   # for every other answer

The folded solution of the notebook computes its answer and gives it to the same `check`, so a
number in the file that is not the computed one fails its chapter.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[2] / "data" / "exercises"
_FIELDS = {"id", "asks", "answer", "cases", "absolute", "relative", "mistakes", "hint"}


class ExerciseError(ValueError):
    """An entry of `data/exercises`, or a use of one, is not valid."""


@dataclass(frozen=True)
class Exercise:
    """One exercise. `arguments` is None, or, where a function is asked for, those of its cases;
    `answer` then holds what it returns in each of them."""

    id: str
    asks: str
    answer: Any
    hint: str
    mistakes: tuple[tuple[Any, str], ...]  # (answer, hint)
    arguments: tuple[list, ...] | None = None
    absolute: float = 0.0
    relative: float = field(default=1e-9)

    def equal(self, given: Any, wanted: Any) -> bool:
        """Whether plain data `given` is `wanted`, numbers within the tolerance, words whatever
        their case."""
        if isinstance(wanted, dict):
            same = isinstance(given, dict) and given.keys() == wanted.keys()
            return same and all(self.equal(given[key], wanted[key]) for key in wanted)
        if isinstance(wanted, list):
            same = isinstance(given, list) and len(given) == len(wanted)
            return same and all(map(self.equal, given, wanted))
        if isinstance(wanted, bool) or isinstance(given, bool):
            return given is wanted
        if isinstance(wanted, str):
            return isinstance(given, str) and _folded(given) == _folded(wanted)
        close = functools.partial(math.isclose, rel_tol=self.relative, abs_tol=self.absolute)
        return isinstance(given, (int, float)) and close(given, wanted)

    def hint_for(self, given: Any) -> str | None:
        """None when plain data `given` is the answer; otherwise the hint that fits it best."""
        if self.equal(given, self.answer):
            return None
        for answer, hint in self.mistakes:
            if self.equal(given, answer):
                return hint
        if isinstance(self.answer, list) and not (
            isinstance(given, list) and len(given) == len(self.answer)
        ):
            return f"The answer is a list of {len(self.answer)}: {self.asks}."
        return self.hint


@functools.cache
def load_exercises(folder: Path = FOLDER) -> dict[str, Exercise]:
    """Every exercise of the book by its id, validated.

    Raises `ExerciseError` with one sentence that names the exercise and what is wrong with it.
    """
    found: dict[str, Exercise] = {}
    for path in sorted(folder.glob("*.yml")):
        try:
            entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ExerciseError(f"{path.name} is not valid YAML: {error}") from error
        _require(isinstance(entries, list), path.name, "it must be a list of exercises")
        for number, entry in enumerate(entries, 1):
            exercise = _exercise(entry, f"q{path.stem}-e{number}")
            found[exercise.id] = exercise
    return found


def find_exercise(exercise_id: str) -> Exercise:
    """The exercise called `exercise_id`; raises `ExerciseError` when there is none."""
    try:
        return load_exercises()[exercise_id]
    except KeyError:
        known = exercise_id[1:3]
        raise ExerciseError(f"{exercise_id!r} is not in data/exercises/{known}.yml.") from None


def plain(value: Any) -> Any:
    """`value` as numbers, words, lists and mappings: arrays, tensors and tuples opened."""
    if hasattr(value, "tolist"):  # NumPy and PyTorch, scalars too
        value = value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def returned(exercise: Exercise, function: Callable) -> list:
    """What `function` returns in each case of the exercise, as plain data."""
    return [plain(function(*arguments)) for arguments in exercise.arguments or ()]


def _folded(words: str) -> str:
    """Words without what nobody means by them: case, and spaces beside commas or in runs."""
    return re.sub(r"\s*,\s*", ",", " ".join(words.casefold().split()))


def _exercise(entry: Any, name: str) -> Exercise:
    """One validated entry, which must be called `name`."""
    _require(isinstance(entry, dict), name, "it must be a mapping")
    _require(entry.get("id") == name, name, f"its id is {entry.get('id')!r}")
    odd = sorted(set(entry) - _FIELDS)
    _require(not odd, name, f"unknown fields: {', '.join(odd)}")
    for key in ("asks", "hint"):
        text = entry.get(key)
        _require(isinstance(text, str) and text.strip(), name, f"`{key}` must be text")
    _require(("answer" in entry) != ("cases" in entry), name, "give `answer` or `cases`, not both")
    cases, key = entry.get("cases"), "returns" if "cases" in entry else "answer"
    mistakes = entry.get("mistakes")
    _require(
        isinstance(mistakes, list) and all({key, "hint"} == set(m) for m in mistakes),
        name,
        f"`mistakes` is a list of {{{key}, hint}}",
    )
    exercise = Exercise(
        id=name,
        asks=entry["asks"],
        answer=[case["returns"] for case in cases] if cases else entry["answer"],
        hint=entry["hint"],
        mistakes=tuple((m[key], m["hint"]) for m in mistakes),
        arguments=tuple(case["arguments"] for case in cases) if cases else None,
        **{k: float(entry[k]) for k in ("absolute", "relative") if k in entry},
    )
    _numbers_are_numbers(exercise.answer, name)
    _more_than_a_coin(exercise)
    _distinct(exercise)
    return exercise


def _numbers_are_numbers(answer: Any, name: str) -> None:
    """YAML reads 2e11 as a word: a number needs the sign in its exponent, 2e+11."""
    parts = answer if isinstance(answer, list) else [answer]
    for part in answer.values() if isinstance(answer, dict) else parts:
        if isinstance(part, (list, dict)):
            _numbers_are_numbers(part, name)
        looks = isinstance(part, str) and re.fullmatch(r"[-+]?[\d.]+(e\d+)?", part)
        _require(not looks, name, f"{part!r} is a word to YAML; write a number, as in 2e+11")


def _more_than_a_coin(exercise: Exercise) -> None:
    """An answer made of truth values alone is guessed by one reader in two or in four."""
    parts = exercise.answer if isinstance(exercise.answer, list) else [exercise.answer]
    guessed = exercise.arguments is None and all(isinstance(part, bool) for part in parts)
    _require(not guessed, exercise.id, "truth values can be guessed; ask for the numbers")


def _distinct(exercise: Exercise) -> None:
    """Two or more mistakes, none of them right, each with a hint of its own that it gets."""
    _require(len(exercise.mistakes) >= 2, exercise.id, "it needs two mistakes or more")
    for answer, hint in exercise.mistakes:
        problem = f"the mistake {answer!r} is accepted as the answer"
        _require(not exercise.equal(answer, exercise.answer), exercise.id, problem)
        problem = f"the mistake {answer!r} does not get its own hint"
        _require(exercise.hint_for(answer) == hint, exercise.id, problem)
    hints = {hint for _, hint in exercise.mistakes} | {exercise.hint}
    problem = "every mistake needs a hint of its own"
    _require(len(hints) == len(exercise.mistakes) + 1, exercise.id, problem)


def _require(condition: object, name: str, problem: str) -> None:
    if not condition:
        raise ExerciseError(f"{name}: {problem}.")
