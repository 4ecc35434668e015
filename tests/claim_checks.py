"""What a chapter must do with its claims, as functions of a notebook (see `notebook_checks`)."""

from __future__ import annotations

import ast

from nbformat import NotebookNode

from labs.book.cards import card_html, card_text
from labs.book.claims import VERDICTS, Claim
from labs.book.ledger import judge
from tests.notebook_checks import UNCOMPARED
from tests.notebooks import code_cells, label, tags, tree


def tried_in(cell: NotebookNode) -> list[str | None]:
    """The claims that a cell tries: the argument of each call of `claim`, None if not literal."""
    found = []
    for node in ast.walk(tree(cell)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name == "claim":
                value = node.args[0] if node.args else None
                found.append(value.value if isinstance(value, ast.Constant) else None)
    return found


def deciding_cells(notebook: NotebookNode) -> list[tuple[str | None, NotebookNode]]:
    """Every trial of the notebook, as (claim, cell)."""
    return [(name, cell) for cell in code_cells(notebook) for name in tried_in(cell)]


def check_trials(notebook: NotebookNode, question: int, claims: list[Claim]) -> list[str]:
    """Each claim with an experiment is tried once, here, and no other claim is."""
    known = {entry.id: entry for entry in claims}
    names = [name for name, _ in deciding_cells(notebook)]
    complaints = []
    for name in names:
        if name is None:
            complaints.append("a claim must be named by a literal")
        elif name not in known:
            complaints.append(f"{name} is not a claim of the ledger")
        elif known[name].question != question:
            complaints.append(f"{name} belongs to question {known[name].question}")
        elif names.count(name) > 1:
            complaints.append(f"{name} is tried {names.count(name)} times")
    complaints += [
        f"{label(c)} tries several" for c in code_cells(notebook) if len(tried_in(c)) > 1
    ]
    for entry in claims:
        if entry.question == question and entry.experiment and entry.id not in names:
            complaints.append(f"{entry.id} has an experiment but no cell tries it")
    return complaints


def check_records(notebook: NotebookNode, claims: list[Claim]) -> list[str]:
    """The stored output of each trial is compared, shows its card, and supports its verdict only.

    The observations in the card's metadata are judged again: the ledger's verdict must fit them,
    and every other verdict must not.
    """
    known = {entry.id: entry for entry in claims}
    complaints = []
    for name, cell in deciding_cells(notebook):
        if tags(cell) & UNCOMPARED:
            complaints.append(f"the output that decides {name} must be compared")
        if cell.execution_count is None:
            complaints.append(f"the cell that decides {name} was not run")
        cards = [output for output in cell.outputs if "claim" in output.get("metadata", {})]
        if len(cards) != 1 or name not in known:
            complaints.append(f"the cell that decides {name} stores {len(cards)} cards, not 1")
            continue
        complaints += _judge_again(known[name], cards[0])
    return complaints


def _judge_again(entry: Claim, card: NotebookNode) -> list[str]:
    record = card.metadata["claim"]
    complaints = []
    if record["id"] != entry.id:
        complaints.append(f"the card of {entry.id} records {record['id']}")
    if card.data.get("text/plain") != card_text(entry):
        complaints.append(f"the stored text of {entry.id} is not that of the ledger")
    if card.data.get("text/html") != card_html(entry):
        complaints.append(f"the stored card of {entry.id} is not that of the ledger")
    observed = [[seen["true"] for seen in record[kind]] for kind in ("stated", "corrected")]
    for verdict in VERDICTS:
        reason = judge(verdict, *observed)
        if verdict == entry.verdict and reason:
            complaints.append(f"{entry.id}: {reason}")
        if verdict != entry.verdict and reason is None:
            complaints.append(f"{entry.id}: the observations would also fit {verdict}")
    return complaints


def check_anchors(notebook: NotebookNode) -> list[str]:
    """The last line before a trial is its anchor, to which the ledger page links."""
    complaints = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        for name in tried_in(cell):
            before = notebook.cells[index - 1] if index else cell
            lines = before.source.rstrip().splitlines() if before.cell_type == "markdown" else []
            if not lines or lines[-1] != f"(claim-{name})=":
                complaints.append(f"(claim-{name})= must be the last line before its cell")
    return complaints


def check_sources(claims: list[Claim], keys: set[str]) -> list[str]:
    """Where no experiment decides, a primary source does; every source is in the bibliography."""
    complaints = [f"{e.id} has neither experiment nor source" for e in claims if not _decided(e)]
    return complaints + [
        f"{entry.id} cites {source.key}, which is not in references.bib"
        for entry in claims
        for source in entry.source
        if source.key not in keys
    ]


def _decided(entry: Claim) -> bool:
    return bool(entry.experiment or entry.source)
