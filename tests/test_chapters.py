"""Every chapter is complete, says what it observed, and agrees with the ledger; so does its page.

The checks are in `notebook_checks` and `claim_checks`; `test_notebook_checks` shows that each of
them fails on a notebook that was broken on purpose.
"""

import inspect
import pkgutil
import re
import textwrap
from pathlib import Path

import nbformat
import pytest
import yaml
from pybtex.database import parse_file

from labs.book.claims import load_claims, load_questions
from labs.book.exercises import Exercise, load_exercises
from labs.book.ledger_page import entries, overview
from tests import claim_checks, notebook_checks
from tests.notebooks import code_cells, headings

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = ROOT / "chapters"
CLAIMS = load_claims()
QUESTIONS = load_questions()
WRITTEN = [question for question in QUESTIONS if question.written]
KEYS = set(parse_file(str(ROOT / "references.bib")).entries)
TAKEN = notebook_checks.defined_in(ROOT / "labs")

CHECKS = {
    "sections": lambda n, q: notebook_checks.check_sections(n, q),
    "short answer": lambda n, q: notebook_checks.check_short_answer(n),
    "counts": lambda n, q: notebook_checks.check_counts(n),
    "lengths": lambda n, q: notebook_checks.check_lengths(n),
    "compared": lambda n, q: notebook_checks.check_compared(n),
    "outputs": lambda n, q: notebook_checks.check_outputs(n),
    "figures": lambda n, q: notebook_checks.check_figures(n),
    "exercises": lambda n, q: notebook_checks.check_exercises(n, exercises_of(q.number)),
    "citations": lambda n, q: notebook_checks.check_citations(n, KEYS),
    "definitions": lambda n, q: notebook_checks.check_definitions(n, TAKEN),
    "trials": lambda n, q: claim_checks.check_trials(n, q.number, CLAIMS),
    "records": lambda n, q: claim_checks.check_records(n, CLAIMS),
    "anchors": lambda n, q: claim_checks.check_anchors(n),
}


def exercises_of(question: int) -> dict[str, Exercise]:
    """The chapter's exercises, by id."""
    start = f"q{question:02d}-"
    return {name: one for name, one in load_exercises().items() if name.startswith(start)}


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("question", WRITTEN, ids=lambda question: question.slug)
@pytest.mark.parametrize("check", CHECKS)
def test_chapter(question, check):
    notebook = read(CHAPTERS / f"{question.slug}.ipynb")
    complaints = CHECKS[check](notebook, question)
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("question", WRITTEN, ids=lambda question: question.slug)
def test_chapter_is_a_valid_notebook(question):
    notebook = read(CHAPTERS / f"{question.slug}.ipynb")
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert {"versions", "machine", "date"} <= set(notebook.metadata.book)


def test_written_chapters_are_the_notebooks_and_the_contents():
    slugs = [question.slug for question in WRITTEN]
    assert sorted(path.stem for path in CHAPTERS.glob("*.ipynb")) == slugs
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [entry["file"] for part in contents["parts"] for entry in part["chapters"]]
    assert [f for f in files if f.startswith("chapters/")] == [f"chapters/{s}" for s in slugs]
    assert "ledger" in files and contents["root"] == "index"


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.slug)
def test_every_chapter_has_exercises_that_answer_back(question):
    assert question.written and len(exercises_of(question.number)) >= 3


def test_every_claim_has_what_decides_it():
    assert claim_checks.check_sources(CLAIMS, KEYS) == []


# The ledger page ----------------------------------------------------------------------------


def test_the_ledger_page_is_up_to_date():
    """`make store NB=ledger.ipynb` renews it after a change of the ledger."""
    notebook = read(ROOT / "ledger.ipynb")
    nbformat.validate(notebook)
    assert [text for level, text, _ in headings(notebook) if level == 1] == ["The claim ledger"]
    shown = [output.data for cell in code_cells(notebook) for output in cell.outputs]
    assert [data["text/html"] for data in shown] == [overview().html, entries().html]
    assert [data["text/plain"] for data in shown] == [repr(overview()), repr(entries())]
    checks = [notebook_checks.check_counts, notebook_checks.check_outputs]
    assert [complaint for check in checks for complaint in check(notebook)] == []


def test_the_ledger_page_shows_every_entry_and_links_to_what_decides_it():
    html = entries().html
    for entry in CLAIMS:
        question = QUESTIONS[entry.question - 1]
        assert html.count(f'id="{entry.id}"') == 1
        decider = f'href="{question.page}#{entry.anchor}"'
        assert (decider in html) == (question.written and entry.experiment is not None), entry.id
    for question in QUESTIONS:
        assert f'<section data-chapter="{question.number}"' in html
        assert (f'<a href="{question.page}">' in html) == question.written
    assert html.count("Open: this chapter is not yet written.") == 20 - len(WRITTEN)


def shown_sources() -> list[tuple[str, str, str]]:
    """Every piece of `labs/` that a stored page shows: chapter, name, code."""
    found = []
    for question in WRITTEN:
        for cell in code_cells(read(CHAPTERS / f"{question.slug}.ipynb")):
            for output in cell.outputs:
                text = output.get("data", {}).get("text/markdown", "")
                match = re.fullmatch(r"`(labs\.[\w.]+)`\n```python\n(.*)\n```", text, re.DOTALL)
                if match:
                    found.append((question.slug, match[1], match[2]))
    return found


def test_pages_show_the_code_as_it_is():
    """A page shows code of `labs/`: who changes that code stores the chapter again."""
    shown = shown_sources()
    assert len(shown) > 20
    for chapter, name, code in shown:
        thing = pkgutil.resolve_name(name)
        now = textwrap.dedent(inspect.getsource(thing)).rstrip()
        assert code == now, (
            f"{chapter} shows an older {name}: make store NB=chapters/{chapter}.ipynb"
        )
