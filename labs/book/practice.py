"""The reader's side of an exercise: `check`, and what it shows.

In the built page, `web/exercises.js` turns the box of an unanswered exercise into a form, so that
it can be answered without running anything; in JupyterLab the reader edits the cell.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

from IPython.display import display

from labs.book.exercises import Exercise, find_exercise, plain, returned


def check(exercise_id: str, answer: Any) -> None:
    """Show whether `answer` is accepted, or a hint; with `...`, what form the answer has.

    answer: a number, word, list, mapping, array or tensor; a function where one is asked for.
    Raises `ExerciseError` for an exercise that does not exist. A reader's wrong answer, or a
    function of the reader's that fails, is a hint and no error.
    """
    exercise = find_exercise(exercise_id)
    state, words = _judged(exercise, answer)
    text = f"{exercise_id} · {words}"
    key = f' data-key="{escape(json.dumps(_key(exercise)))}"' if state == "open" else ""
    page = (
        f'<div class="exercise exercise-{state}" data-exercise="{exercise_id}"{key}>'
        f'<p style="margin: 0">{escape(words)}</p></div>'
    )
    display({"text/html": page, "text/plain": text}, raw=True)


def _judged(exercise: Exercise, answer: Any) -> tuple[str, str]:
    """The state (open, accepted or hint) of an answer, and what to say."""
    if answer is ...:
        return "open", f"Your answer in place of the dots: {exercise.asks}."
    if exercise.arguments is not None:
        if not callable(answer):
            return "hint", f"Not yet. Give the function itself: {exercise.asks}."
        try:
            answer = returned(exercise, answer)
        except Exception as error:  # the reader's code: whatever it raises is theirs to see
            return "hint", f"Not yet. Your function raised {type(error).__name__}: {error}"
    hint = exercise.hint_for(plain(answer))
    return ("accepted", "Accepted.") if hint is None else ("hint", f"Not yet. {hint}")


def _key(exercise: Exercise) -> dict:
    """What a form on the page needs to judge an answer; empty where a function is asked for."""
    if exercise.arguments is not None:
        return {}
    return {
        "answer": exercise.answer,
        "mistakes": [list(mistake) for mistake in exercise.mistakes],
        "hint": exercise.hint,
        "absolute": exercise.absolute,
        "relative": exercise.relative,
    }
