"""Small tables for notebooks: HTML on the page, one stable text for nbval.

`table` is the book's one way to confront a prediction with a measurement.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Sequence
from html import escape
from typing import Any

from IPython.display import Markdown, display


class Grid:
    """A table with a header; numbers are set right, words left."""

    def __init__(
        self,
        header: Sequence[str],
        rows: Sequence[Sequence[Any]],
        digits: int | Sequence[int] = 4,
    ):
        """`digits` behind the point, of all columns or of each; 0 asks for whole numbers."""
        self.header = [str(name) for name in header]
        each = [digits] * len(self.header) if isinstance(digits, int) else list(digits)
        if any(len(row) != len(self.header) for row in rows):
            raise ValueError(f"Every row needs {len(self.header)} cells: {', '.join(self.header)}.")
        self.rows = [[self._text(*cell) for cell in zip(row, each, strict=True)] for row in rows]
        self.numeric = [
            all(isinstance(row[i], (int, float)) or row[i] is None for row in rows)
            for i in range(len(self.header))
        ]

    @staticmethod
    def _text(value: Any, digits: int) -> str:
        if value is None:
            return "–"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return str(value)
        if isinstance(value, int):
            return f"{value:,}"
        shown = max(digits, 1)  # significant digits of the powers of ten
        large = digits > 0 and abs(value) >= 1e6
        if value != 0 and (large or abs(value) < 10.0 ** (1 - shown)):
            return f"{value:.{shown - 1}e}"
        return f"{value:,.{digits}f}"

    def __repr__(self) -> str:
        table = [self.header, *self.rows]
        widths = [max(len(row[i]) for row in table) for i in range(len(self.header))]
        lines = []
        for row in table:
            cells = [
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, self.numeric, strict=True)
            ]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        def cells(tag: str, row: Sequence[str]) -> str:
            scope = ' scope="col"' if tag == "th" else ""
            return "".join(
                f'<{tag}{scope} style="text-align:{"right" if right else "left"}">'
                f"{escape(cell)}</{tag}>"
                for cell, right in zip(row, self.numeric, strict=True)
            )

        head = f"<tr>{cells('th', self.header)}</tr>"
        body = "".join(f"<tr>{cells('td', row)}</tr>" for row in self.rows)
        return (
            '<div class="table-scroll" tabindex="0" role="region" aria-label="Table">'
            f'<table class="book-table"><thead>{head}</thead><tbody>{body}</tbody></table></div>'
        )


def grid(header: Sequence[str], rows: Sequence[Sequence[Any]], digits: int = 4) -> Grid:
    """A plain table. `rows` are sequences of words and numbers, one for each name in `header`."""
    return Grid(header, rows, digits)


def table(*rows: tuple[str, float, float], unit: str = "", digits: int = 4) -> Grid:
    """Predicted against measured: each row is (what, predicted, measured); the ratio is added.

    Whole numbers (digits=0) have a ratio with four digits.
    """
    header = [f"in {unit}" if unit else "quantity", "predicted", "measured", "ratio"]
    body = [
        [what, float(predicted), float(measured), measured / predicted if predicted else None]
        for what, predicted, measured in rows
    ]
    return Grid(header, body, [digits, digits, digits, digits or 4])


def show_source(*objects: Any) -> None:
    """Show the code of functions or classes of `labs/` on the page, where it is taught."""
    for thing in objects:
        code = textwrap.dedent(inspect.getsource(thing)).rstrip()
        display(Markdown(f"`{thing.__module__}.{thing.__qualname__}`\n```python\n{code}\n```"))
