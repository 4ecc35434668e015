"""Figures and results are collected from the notebooks as they stand there."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from labs.book import collected
from labs.book.claims import Question
from labs.book.explorables import explorable
from labs.book.tables import grid, table

QUESTION = Question(7, "07_sample", "What?", "什么？", "A sample.", True)


def shown(thing, **metadata):
    """A cell that displayed `thing`."""
    output = new_output("execute_result", data={"text/html": thing._repr_html_()})
    return new_code_cell("thing", outputs=[output], metadata=metadata)


@pytest.fixture(autouse=True)
def chapters(tmp_path, monkeypatch):
    """One chapter with two tables of results, a plain table, a figure and an explorable."""
    about = {"figure": {"name": "fig-07-a", "caption": "Loss against step. It falls."}}
    figure = new_code_cell("plt.show()", outputs=[], metadata={"mystnb": about})
    moving = explorable("losses", {}, title="Move it", static_html="<p>x</p>", text="x")
    notebook = new_notebook(
        cells=[
            new_markdown_cell("# What?\n\n## Lab\n\n### Why divide by $\\sqrt{d_k}$?"),
            shown(table(("a", 2, 2.5), ("b", 0, 1), unit="MB", digits=2)),
            shown(grid(["predicted", "measured"], [[1, 2]])),
            new_markdown_cell("```python\n# no heading\n```"),
            shown(table(("c", 1000, 1000)), tags=["nbval-ignore-output"]),
            new_markdown_cell("### `Next`"),
            figure,
            shown(moving),
        ]
    )
    nbformat.write(notebook, tmp_path / "07_sample.ipynb")
    monkeypatch.setattr(collected, "CHAPTERS", tmp_path)
    monkeypatch.setattr(collected, "load_questions", lambda: [QUESTION])


def test_results_are_the_rows_of_tables_that_compare():
    first, second, third = collected.results()
    assert (first.what, first.unit, first.predicted, first.measured) == ("a", "MB", "2.00", "2.50")
    assert (first.ratio, second.ratio, third.ratio) == ("1.25", "–", "1.0000")
    assert (first.compared, third.compared, third.unit) == (True, False, "")
    assert {r.section for r in (first, second, third)} == {"Why divide by √dk?"}
    assert first.anchor == "why-divide-by-sqrt-d-k"


def test_figures_have_their_captions_and_explorables_their_titles():
    still, moving = collected.figures()
    assert (still.anchor, still.caption, still.moves) == (
        "fig-07-a",
        "Loss against step. It falls.",
        False,
    )
    assert (moving.anchor, moving.caption, moving.moves) == ("next", "Move it", True)


def test_a_chapter_that_is_not_written_is_not_read(monkeypatch):
    unwritten = Question(8, "08_none", "What?", "什么？", "None.", False)
    monkeypatch.setattr(collected, "load_questions", lambda: [unwritten])
    assert collected.results() == collected.figures() == []
