"""A small notebook that satisfies every check of a chapter, for tests that break it."""

import dataclasses

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from labs.book.cards import card_html, card_text
from labs.book.claims import Claim, Question, Source
from labs.book.exercises import Exercise

QUESTION = Question(6, "06_sample", "What is a sample?", "什么是样本？", "A sample.", True)
KEYS = {"someone2020thing"}
SOURCE = (Source("someone2020thing", "sec. 1"),)


def entry(number: int, verdict: str, experiment: str | None = "Measure it.") -> Claim:
    """A claim of the sample's question."""
    name = f"q06-c{number:02d}"
    return Claim(name, 6, "It is.", "它是。", verdict, "Because.", experiment, SOURCE, None)


CLAIMS = [entry(1, "holds"), entry(2, "imprecise"), entry(3, "wrong", experiment=None)]
FOREIGN = dataclasses.replace(entry(1, "holds"), id="q07-c01", question=7)
LEDGER = [*CLAIMS, FOREIGN]
EXERCISES = {f"q06-e{n}": Exercise(f"q06-e{n}", "a number", n + 1, "Add.", ()) for n in (1, 2, 3)}


def trial(claim: Claim, stated: list[bool], corrected: list[bool]) -> list[NotebookNode]:
    """The Markdown cell with the anchor, and the cell that tries the claim."""
    record = {
        "id": claim.id,
        "stated": [{"true": truth, "observed": "seen"} for truth in stated],
        "corrected": [{"true": truth, "observed": "seen"} for truth in corrected],
    }
    card = new_output(
        "display_data",
        data={"text/plain": card_text(claim), "text/html": card_html(claim)},
        metadata={"claim": record},
    )
    code = f'with claim("{claim.id}") as c:\n    c.stated(True, "seen")'
    return [
        new_markdown_cell(f"What is tried.\n\n(claim-{claim.id})="),
        new_code_cell(code, outputs=[card]),
    ]


def printed(code: str, text: str, **metadata) -> NotebookNode:
    """A cell that printed `text`."""
    output = new_output("stream", name="stdout", text=text)
    return new_code_cell(code, outputs=[output], metadata=metadata)


def figure(name: str) -> NotebookNode:
    """A cell that drew a figure."""
    about = {
        "image": {"alt": "Two lines that fall, the blue one faster."},
        "figure": {"caption": "Loss against step.", "name": name},
    }
    image = new_output("display_data", data={"image/png": "iVBOR/tmp/", "text/plain": "<Figure>"})
    return new_code_cell("plt.show()", outputs=[image], metadata={"mystnb": about})


def box(number: int, state: str) -> NotebookNode:
    """What `check` shows of exercise `number`."""
    html = f'<div class="exercise exercise-{state}" data-exercise="q06-e{number}"></div>'
    return new_output("display_data", data={"text/plain": state, "text/html": html})


def solution(number: int) -> list[NotebookNode]:
    """One exercise with the reader's cell and its folded solution."""
    fold = {"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
    check = f'check("q06-e{number}", ...)'
    code = f"answer = {number} + 1\nassert answer == {number + 1}\n{check.replace('...', 'answer')}"
    return [
        new_markdown_cell(f"### Exercise {number}\n\nAdd one."),
        new_code_cell(check, outputs=[box(number, "open")]),
        new_code_cell(
            code,
            outputs=[box(number, "accepted")],
            metadata={"tags": ["hide-cell"], "mystnb": fold},
        ),
    ]


def sound() -> NotebookNode:
    """A notebook that satisfies every check."""
    seen = [
        new_markdown_cell("# What is a sample?\n\n什么是样本？\n\n```python\n# no heading\n```"),
        new_markdown_cell("## Short answer\n\nA sample is a small part. {cite}`someone2020thing`"),
        new_markdown_cell("## Theory"),
        new_code_cell("import math", metadata={"tags": ["hide-input"]}),
        figure("fig-a"),
        figure("fig-b"),
        figure("fig-c"),
        new_markdown_cell("## Lab"),
        printed("loss = 1.0\nassert loss < 2\nprint(loss)", "1.0\n", tags=["nbval-ignore-output"]),
        new_markdown_cell("## Claims on trial"),
        *trial(CLAIMS[0], [True], []),
        *trial(CLAIMS[1], [False], [True]),
        new_markdown_cell("## At scale"),
        new_markdown_cell("## Exercises"),
        *[cell for number in (1, 2, 3) for cell in solution(number)],
        new_markdown_cell(
            "## Further reading\n\n```{bibliography}\n:filter: docname in docnames\n```"
        ),
    ]
    notebook = new_notebook(cells=seen)
    return renumbered(notebook)


def renumbered(notebook: NotebookNode) -> NotebookNode:
    for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1):
        cell.execution_count = count
    return notebook
