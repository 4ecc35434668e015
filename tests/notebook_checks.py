"""What every chapter's notebook must satisfy, as functions of a notebook.

Each check takes a notebook object and returns its complaints, an empty list when all is well, so
that tests can also show it a notebook that was broken on purpose.
"""

from __future__ import annotations

import ast
import getpass
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from nbformat import NotebookNode

from labs.book.claims import Question
from labs.book.exercises import Exercise
from tests.notebooks import (
    code_cells,
    has_assert,
    has_explorable,
    has_image,
    headings,
    label,
    section,
    tags,
    texts,
    tree,
)

SECTIONS = [
    "Short answer",
    "Theory",
    "Lab",
    "Claims on trial",
    "At scale",
    "Exercises",
    "Further reading",
]
SHORT_ANSWER_WORDS = 150
COMPARED_SHARE = 4 / 5
FIGURES = 3
CELL_LINES = 24
EXERCISES = (3, 5)
IGNORED = "nbval-ignore-output"
UNRUN = {"nbval-skip", "skip-execution"}
UNCOMPARED = {IGNORED, *UNRUN, "raises-exception", "nbval-raises-exception"}
MACHINE_PATH = re.compile(r"/(root|home|tmp|work|usr/lib|opt)/")
WARNING = re.compile(r"\b\w*Warning\b|^WARNING\b|\bDEPRECATED\b", re.MULTILINE)
COMMON_NAMES = {"root", "user", "runner", "admin", "localhost", "ubuntu", "debian"}


def check_sections(notebook: NotebookNode, question: Question) -> list[str]:
    """Title, Chinese title and the seven sections, in their order."""
    found = headings(notebook)
    titles = [text for level, text, _ in found if level == 1]
    complaints = []
    if titles != [question.title] or found[0][0] != 1:
        complaints.append(f"the title must be {question.title!r}, and the only one; it is {titles}")
    if question.title_zh not in notebook.cells[0].source:
        complaints.append(f"the first cell must show the Chinese title {question.title_zh}")
    names = [text for level, text, _ in found if level == 2]
    if names != SECTIONS:
        complaints.append(f"the sections must be {SECTIONS}; they are {names}")
    return complaints


def check_short_answer(notebook: NotebookNode) -> list[str]:
    """The short answer exists and can be said in ninety seconds."""
    prose = " ".join(c.source for c in section(notebook, SECTIONS[0]) if c.cell_type == "markdown")
    words = len(prose.partition(f"## {SECTIONS[0]}")[2].split())
    if not 0 < words <= SHORT_ANSWER_WORDS:
        return [f"the short answer has {words} words, not 1 to {SHORT_ANSWER_WORDS}"]
    return []


def check_counts(notebook: NotebookNode) -> list[str]:
    """The cells were run in order from a fresh kernel: nbval skips a cell without a count."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        return [f"the execution counts must be 1 to {len(counts)}; they are {counts}"]
    return []


def check_lengths(notebook: NotebookNode) -> list[str]:
    """Cells can be taken in at a glance; the first one, which prepares, is folded."""
    first, *others = code_cells(notebook)
    complaints = [
        f"{label(cell)} has {lines} lines, not {CELL_LINES} or fewer: split it where an idea ends"
        for cell in others
        if (lines := len(cell.source.splitlines())) > CELL_LINES
    ]
    if "hide-input" not in tags(first):
        complaints.append("the first cell imports and prepares: fold it with the tag hide-input")
    return complaints


def check_compared(notebook: NotebookNode) -> list[str]:
    """Outputs are compared; where one is not, the cell asserts what must hold."""
    complaints = []
    for cell in code_cells(notebook):
        if tags(cell) & UNRUN:
            complaints.append(f"{label(cell)} must not be skipped")
        if IGNORED in tags(cell) and not has_assert(cell):
            complaints.append(f"{label(cell)} is not compared, so it must contain an assert")
        if re.search(r"#\s*(NBVAL_|PYTEST_VALIDATE_)", cell.source):
            complaints.append(f"{label(cell)} steers nbval by a comment; use a tag")
    with_output = [cell for cell in code_cells(notebook) if cell.outputs]
    compared = [cell for cell in with_output if not tags(cell) & UNCOMPARED]
    if len(compared) < COMPARED_SHARE * len(with_output):
        complaints.append(f"only {len(compared)} of {len(with_output)} outputs are compared")
    return complaints


def check_outputs(notebook: NotebookNode) -> list[str]:
    """No stderr, no error, no warning, and no trace of the machine in what is stored."""
    names = {getpass.getuser(), socket.gethostname()} - COMMON_NAMES
    complaints = []
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                complaints.append(f"{label(cell)} wrote to stderr")
            if output.output_type == "error" and "raises-exception" not in tags(cell):
                complaints.append(f"{label(cell)} ended in {output.ename}")
        for text in texts(cell):
            if match := MACHINE_PATH.search(text):
                complaints.append(f"{label(cell)} shows a path of the machine: {match[0]}")
            if match := WARNING.search(text):
                complaints.append(f"{label(cell)} shows a warning: {match[0]}")
            for name in names:
                if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text):
                    complaints.append(f"{label(cell)} shows the name {name}")
    return complaints


def check_figures(notebook: NotebookNode) -> list[str]:
    """Enough figures; each image has a description, a caption and a name of its own."""
    complaints, names = [], []
    for cell in code_cells(notebook):
        for text in texts(cell):
            if re.search(r"<img(?![^>]*\balt=\"[^\"]+\")", text):
                complaints.append(f"{label(cell)} has an <img> without alt text")
        if has_image(cell):
            about = cell.metadata.get("mystnb", {})
            if len(about.get("image", {}).get("alt", "")) < 20:
                complaints.append(f"{label(cell)} shows an image without a description (alt)")
            if not about.get("figure", {}).get("caption"):
                complaints.append(f"{label(cell)} shows an image without a caption")
            names.append(about.get("figure", {}).get("name", ""))
    if "" in names or len(set(names)) < len(names):
        complaints.append(f"every figure needs a name of its own: {names}")
    number = sum(has_image(cell) or has_explorable(cell) for cell in code_cells(notebook))
    if number < FIGURES:
        complaints.append(f"the chapter has {number} figures, not {FIGURES} or more")
    return complaints


def check_exercises(notebook: NotebookNode, known: Mapping[str, Exercise]) -> list[str]:
    """Three to five exercises: a cell for the reader's answer, then a folded solution.

    known: the chapter's exercises by id; the solution of each was accepted when it was stored.
    """
    cells = [c for c in section(notebook, "Exercises") if c.cell_type == "code"]
    solutions = [cell for cell in cells if "hide-cell" in tags(cell)]
    readers = [cell for cell in cells if "hide-cell" not in tags(cell)]
    complaints = []
    for cell in solutions:
        if cell.metadata.get("mystnb", {}).get("code_prompt_show") != "Show the solution":
            complaints.append(f"{label(cell)}: a solution is folded under 'Show the solution'")
        if not has_assert(cell) and not judged(cell):
            complaints.append(f"{label(cell)}: a solution asserts or checks its answer")
    if not EXERCISES[0] <= len(solutions) <= EXERCISES[1]:
        complaints.append(f"{len(solutions)} solutions, not {EXERCISES[0]} to {EXERCISES[1]}")
    for cell in readers:
        if not judged(cell):
            complaints.append(f"{label(cell)}: a cell for the reader's answer checks it")
    for kind, state in ((readers, "open"), (solutions, "accepted")):
        found = {name: said for cell in kind for name, said in judged(cell).items()}
        if found != dict.fromkeys(known, state):
            complaints.append(f"{found} is stored where each of {sorted(known)} must be {state}")
    return complaints


def judged(cell: NotebookNode) -> dict[str, str]:
    """The exercises that a cell checked: id to state (open, accepted, hint), from its outputs."""
    html = "".join(o.get("data", {}).get("text/html", "") for o in cell.outputs)
    found = re.findall(r'class="exercise exercise-(\w+)" data-exercise="([\w-]+)"', html)
    return {name: state for state, name in found}


def check_citations(notebook: NotebookNode, keys: set[str]) -> list[str]:
    """Every citation is in the bibliography, which the last section prints."""
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    roles = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", prose)
    cited = {key.strip() for role in roles for key in role.split(",")}
    complaints = [f"{key} is not in references.bib" for key in sorted(cited - keys)]
    if not cited:
        complaints.append("the chapter cites nothing")
    reading = "\n".join(c.source for c in section(notebook, "Further reading"))
    if "{bibliography}" not in reading or ":filter: docname in docnames" not in reading:
        complaints.append("Further reading must print the chapter's bibliography")
    return complaints


def defined_in(folder: Path) -> dict[str, str]:
    """Public functions and classes at the top of the modules in `folder`: name to module."""
    names = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names[node.name] = str(path.relative_to(folder.parent))
    return {k: v for k, v in names.items() if not k.startswith("_") and k != "main"}


def check_definitions(notebook: NotebookNode, taken: dict[str, str]) -> list[str]:
    """No cell defines what the package already defines: import it."""
    return [
        f"{label(cell)} defines {node.name}, which {taken[node.name]} already defines"
        for cell in code_cells(notebook)
        for node in tree(cell).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and node.name in taken
    ]
