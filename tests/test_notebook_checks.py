"""Each check of the chapters accepts a sound notebook and fails on one broken on purpose."""

import copy
import dataclasses
from collections.abc import Callable

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_output

from labs.book.claims import Source
from tests import claim_checks, notebook_checks
from tests.notebooks import section
from tests.sample_notebook import CLAIMS, EXERCISES, KEYS, LEDGER, QUESTION, box, sound

CHECKS = {
    "sections": lambda n: notebook_checks.check_sections(n, QUESTION),
    "short answer": notebook_checks.check_short_answer,
    "counts": notebook_checks.check_counts,
    "lengths": notebook_checks.check_lengths,
    "compared": notebook_checks.check_compared,
    "outputs": notebook_checks.check_outputs,
    "figures": notebook_checks.check_figures,
    "exercises": lambda n: notebook_checks.check_exercises(n, EXERCISES),
    "citations": lambda n: notebook_checks.check_citations(n, KEYS),
    "definitions": lambda n: notebook_checks.check_definitions(n, {"taken": "labs/a.py"}),
    "trials": lambda n: claim_checks.check_trials(n, 6, LEDGER),
    "records": lambda n: claim_checks.check_records(n, LEDGER),
    "anchors": claim_checks.check_anchors,
}


@pytest.mark.parametrize("check", CHECKS)
def test_a_sound_notebook_passes(check):
    notebook = sound()
    nbformat.validate(notebook)
    assert CHECKS[check](notebook) == []


# Ways to break a notebook ---------------------------------------------------------------------


def code(notebook: NotebookNode, start: str) -> NotebookNode:
    """The first code cell whose source starts so."""
    return next(c for c in notebook.cells if c.cell_type == "code" and c.source.startswith(start))


def replace(old: str, new: str) -> Callable[[NotebookNode], None]:
    """Replace a text in every cell's source; it must be there."""

    def change(notebook: NotebookNode) -> None:
        assert any(old in cell.source for cell in notebook.cells)
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)

    return change


def drop(start: str) -> Callable[[NotebookNode], None]:
    """Drop the first code cell whose source starts so."""

    def change(notebook: NotebookNode) -> None:
        notebook.cells.remove(code(notebook, start))

    return change


def retag(start: str, *names: str) -> Callable[[NotebookNode], None]:
    """Give a code cell these tags."""

    def change(notebook: NotebookNode) -> None:
        code(notebook, start).metadata["tags"] = list(names)

    return change


def prints(text: str, stream: str = "stdout") -> Callable[[NotebookNode], None]:
    """Let a cell have printed `text`."""

    def change(notebook: NotebookNode) -> None:
        code(notebook, "answer").outputs.append(new_output("stream", name=stream, text=text))

    return change


def shows(kind: str, data: str) -> Callable[[NotebookNode], None]:
    """Let a cell have shown an output of this type."""

    def change(notebook: NotebookNode) -> None:
        code(notebook, "answer").outputs.append(new_output("display_data", data={kind: data}))

    return change


def stored(start: str, state: str) -> Callable[[NotebookNode], None]:
    """Let a cell have judged the first exercise so."""

    def change(notebook: NotebookNode) -> None:
        code(notebook, start).outputs = [box(1, state)]

    return change


def unjudged(notebook: NotebookNode) -> None:
    code(notebook, "answer").update(source="answer = 2", outputs=[])


def fails(notebook: NotebookNode) -> None:
    code(notebook, "answer").outputs.append(new_output("error", ename="ValueError", evalue=""))


def swap_counts(notebook: NotebookNode) -> None:
    code(notebook, "loss").execution_count = 99


def no_count(notebook: NotebookNode) -> None:
    code(notebook, "loss").execution_count = None


def no_alt(notebook: NotebookNode) -> None:
    del code(notebook, "plt").metadata["mystnb"]["image"]


def no_caption(notebook: NotebookNode) -> None:
    del code(notebook, "plt").metadata["mystnb"]["figure"]["caption"]


def same_name(notebook: NotebookNode) -> None:
    code(notebook, "plt").metadata["mystnb"]["figure"]["name"] = "fig-c"


def unfolded(notebook: NotebookNode) -> None:
    del code(notebook, "answer").metadata["mystnb"]


def longer(notebook: NotebookNode) -> None:
    code(notebook, "loss").source += "\nprint(loss)" * notebook_checks.CELL_LINES


def ignore_most(notebook: NotebookNode) -> None:
    for number in (1, 2, 3):
        cell = code(notebook, f"answer = {number}")
        cell.metadata["tags"] = ["hide-cell", "nbval-ignore-output"]


def two_trials_in_a_cell(notebook: NotebookNode) -> None:
    code(notebook, "with").source += '\nwith claim("q06-c02") as c:\n    pass'


def text_between(notebook: NotebookNode) -> None:
    index = notebook.cells.index(code(notebook, "with"))
    notebook.cells.insert(index, new_markdown_cell("One more sentence."))


def no_card(notebook: NotebookNode) -> None:
    code(notebook, "with").outputs = []


def card(notebook: NotebookNode, number: int) -> NotebookNode:
    return code(notebook, f'with claim("q06-c0{number}")').outputs[0]


def no_record(notebook: NotebookNode) -> None:
    card(notebook, 1).metadata = NotebookNode()


def foreign_record(notebook: NotebookNode) -> None:
    card(notebook, 1).metadata["claim"]["id"] = "q06-c02"


def flipped_observation(notebook: NotebookNode) -> None:
    card(notebook, 1).metadata["claim"]["stated"][0]["true"] = False


def correction_lost(notebook: NotebookNode) -> None:
    card(notebook, 2).metadata["claim"]["corrected"] = []


def changed_text(notebook: NotebookNode) -> None:
    card(notebook, 1).data["text/plain"] += " Indeed."


def changed_card(notebook: NotebookNode) -> None:
    card(notebook, 1).data["text/html"] = card(notebook, 2).data["text/html"]


BROKEN = {
    "another title": ("sections", replace("# What is a sample?", "# What is a trial?")),
    "a second title": ("sections", replace("Add one.", "# Another title")),
    "no Chinese title": ("sections", replace("什么是样本？", "")),
    "a section missing": ("sections", replace("## At scale", "At scale")),
    "a section more": ("sections", replace("Add one.", "## Bonus")),
    "sections out of order": ("sections", replace("## Theory", "## Lab")),
    "no short answer": (
        "short answer",
        replace("A sample is a small part. {cite}`someone2020thing`", ""),
    ),
    "a long short answer": ("short answer", replace("small part", "part " * 150)),
    "counts out of order": ("counts", swap_counts),
    "a cell not run": ("counts", no_count),
    "a long cell": ("lengths", longer),
    "imports that are not folded": ("lengths", retag("import")),
    "ignored without assert": ("compared", replace("assert loss < 2\n", "")),
    "an assert in a comment": ("compared", replace("assert loss < 2", "# assert loss < 2")),
    "a skipped cell": ("compared", retag("answer", "nbval-skip")),
    "a cell that is not run": ("compared", retag("answer", "skip-execution")),
    "ignored by a comment": ("compared", replace("loss = 1.0", "loss = 1.0  # NBVAL_SKIP")),
    "too many ignored": ("compared", ignore_most),
    "stderr": ("outputs", prints("note", "stderr")),
    "an error": ("outputs", fails),
    "a path": ("outputs", prints("saved in /home/me/x")),
    "a path in HTML": ("outputs", shows("text/html", "<p>/opt/python</p>")),
    "a warning": ("outputs", prints("UserWarning: careful")),
    "the user's name": ("outputs", prints("by somebody-unusual")),
    "no alt text": ("figures", no_alt),
    "no caption": ("figures", no_caption),
    "one name twice": ("figures", same_name),
    "two figures": ("figures", drop("plt")),
    "an <img> without alt": ("figures", shows("text/html", '<img src="data:image/png;base64,x">')),
    "two exercises": ("exercises", drop("answer")),
    "an open solution": ("exercises", retag("answer", "solution")),
    "a solution without prompt": ("exercises", unfolded),
    "a solution that nothing judges": ("exercises", unjudged),
    "a rejected solution": ("exercises", stored("answer", "hint")),
    "an exercise answered for the reader": ("exercises", stored("check", "accepted")),
    "no cell for the reader": ("exercises", drop("check")),
    "a reader's cell without check": ("exercises", lambda n: code(n, "check").update(outputs=[])),
    "an unknown citation": ("citations", replace("someone2020thing", "someone2020other")),
    "one of two unknown": ("citations", replace("2020thing`", "2020thing, nobody1999`")),
    "no citation": ("citations", replace("{cite}`someone2020thing`", "")),
    "no bibliography": ("citations", replace("```{bibliography}", "```{note}")),
    "an unfiltered bibliography": ("citations", replace(":filter: docname in docnames", "")),
    "a function that labs has": ("definitions", replace("loss = 1.0", "def taken():\n    pass")),
    "a class that labs has": ("definitions", replace("loss = 1.0", "class taken:\n    pass")),
    "an unknown claim": ("trials", replace('claim("q06-c02")', 'claim("q06-c99")')),
    "a foreign claim": ("trials", replace('claim("q06-c02")', 'claim("q07-c01")')),
    "a claim tried twice": ("trials", replace('claim("q06-c02")', 'claim("q06-c01")')),
    "a claim not tried": ("trials", drop('with claim("q06-c02")')),
    "a computed name": ("trials", replace('claim("q06-c02")', "claim(name)")),
    "two trials in a cell": ("trials", two_trials_in_a_cell),
    "a trial in a comment": ("trials", replace('with claim("q06-c02") as c:', "if True:")),
    "an ignored trial": ("records", retag("with", "nbval-ignore-output")),
    "a trial that may raise": ("records", retag("with", "raises-exception")),
    "a trial not run": ("records", lambda n: code(n, "with").update(execution_count=None)),
    "a trial without card": ("records", no_card),
    "a card without record": ("records", no_record),
    "the record of another claim": ("records", foreign_record),
    "a flipped observation": ("records", flipped_observation),
    "a lost correction": ("records", correction_lost),
    "a changed text": ("records", changed_text),
    "the card of another claim": ("records", changed_card),
    "no anchor": ("anchors", replace("(claim-q06-c01)=", "")),
    "the anchor of another claim": ("anchors", replace("(claim-q06-c01)=", "(claim-q06-c02)=")),
    "an anchor not at the end": ("anchors", replace("(claim-q06-c01)=", "(claim-q06-c01)=\nmore")),
    "text after the anchor": ("anchors", text_between),
}


@pytest.mark.parametrize(("check", "break_it"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_notebook_is_refused(check, break_it, monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "somebody-unusual")
    notebook = sound()
    break_it(notebook)
    complaints = CHECKS[check](notebook)
    assert complaints and all(isinstance(complaint, str) for complaint in complaints)


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c.experiment], ids=lambda claim: claim.id)
def test_flipping_a_verdict_fails_without_a_run(claim):
    """The stored observations reject every verdict but the recorded one."""
    for verdict in {"holds", "limited", "imprecise", "wrong"} - {claim.verdict}:
        flipped = [dataclasses.replace(c, verdict=verdict) if c is claim else c for c in LEDGER]
        complaints = claim_checks.check_records(sound(), flipped)
        assert any(c.startswith(f"{claim.id}: ") for c in complaints), verdict
        assert any("stored text" in c for c in complaints), verdict


def test_entries_that_nothing_decides_are_found():
    undecided = dataclasses.replace(CLAIMS[2], source=())
    unknown = dataclasses.replace(CLAIMS[0], source=(Source("nobody1999", ""),))
    assert claim_checks.check_sources(CLAIMS, KEYS) == []
    assert claim_checks.check_sources([undecided], KEYS) == [
        "q06-c03 has neither experiment nor source"
    ]
    assert len(claim_checks.check_sources([unknown], KEYS)) == 1


def test_embedded_images_are_not_searched_for_paths():
    notebook = sound()
    html = '<img alt="a plot of the loss" src="data:image/png;base64,AB/tmp/CD==">'
    shows("text/html", html)(notebook)
    assert notebook_checks.check_outputs(notebook) == []


def test_headings_in_fences_are_not_headings():
    notebook = sound()
    assert "# no heading" in notebook.cells[0].source
    assert [c.cell_type for c in section(notebook, "At scale")] == ["markdown"]
    assert section(notebook, "Nowhere") == []


def test_magics_do_not_hide_a_claim():
    notebook = copy.deepcopy(sound())
    cell = code(notebook, "with")
    cell.source = "%matplotlib inline\n" + cell.source
    assert claim_checks.check_trials(notebook, 6, LEDGER) == []
