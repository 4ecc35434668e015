"""Explorables: figures of a page that a reader moves, from a notebook cell's data.

A cell ends with ``explorable("zero_memory", data, title=..., static_html=..., text=...)``. Its HTML
output carries everything: the data as JSON, a static state that stays readable with scripts off,
and the JavaScript of ``labs/book/js/explorable.js`` (shared) and ``labs/book/js/<name>.js`` (its
own; ``<name>.css`` beside it is optional). It works in the built page and in JupyterLab and
requests nothing.

Writing ``labs/book/js/<name>.js``
----------------------------------
The script calls ``Explorable.register(name, setup)``. ``setup(ui)`` builds the controls once and
returns ``draw(values)``, which runs once at the start and after every change::

    Explorable.register("zero_memory", (ui) => {
      ui.slider({name: "ranks", label: "Ranks", steps: [1, 2, 4, 8], value: 4});
      ui.slider({name: "tokens", label: "Tokens", min: 0, max: 512, step: 8, value: 64});
      ui.select({name: "stage", label: "ZeRO stage", options: [[0, "none"], [1, "1"]], value: 1});
      ui.toggle({name: "causal", label: "Causal mask", value: true});
      const total = ui.output({name: "total", label: "Per GPU", show: (x) => ui.format.si(x, "B")});
      const bar = ui.svg("rect", {x: 0, y: 4, height: 20, fill: "currentColor"});
      ui.stage.append(ui.svg("svg", {viewBox: "0 0 600 28", role: "img", "aria-label": "…"}, bar));
      return (values) => {                       // {ranks, tokens, stage, causal}: typed values
        const bytes = ui.data.bytes_per_parameter / values.ranks;
        total.put(bytes);
        bar.setAttribute("width", 600 * bytes);
      };
    });

- ``ui.data``: the dictionary given to ``explorable``. ``ui.values``: the current values.
- ``ui.slider``: ``min, max, step`` or a list of ``steps``; ``show`` turns a value into words.
  ``ui.select``: ``options`` are ``[value, label]``. ``ui.toggle``: a checkbox. ``ui.set(name, v)``:
  the same from a control of your own (a token under the pointer), with a redraw.
- ``ui.output``: one number of the result; ``put(x)`` shows ``show(x)`` and keeps ``x`` in full in
  ``data-value`` for tests. ``live: true`` lets a screen reader announce it.
- ``ui.stage``: the ``<div>`` for pictures. ``ui.html(tag, attributes, ...children)`` and
  ``ui.svg(...)`` make elements; an attribute ``onclick: f`` becomes a listener.
- ``ui.format``: ``fixed(x, digits)``, ``significant(x, digits)``, ``si(x, unit, digits)``,
  ``percent(x, digits)``. ``ui.id(name)``: an id that no other figure of the page has.
- Draw with ``currentColor`` and the variables ``--ink --soft --line --ground --accent`` (they
  follow light and dark). Every control needs a label and 24 px; what the pointer can do, the
  keyboard must do.

For tests: ``figure.explorable[data-explorable=name][data-ready=true]``; inputs carry
``data-control=name``, results ``data-output=name`` with ``data-value``.
"""

import html
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "js"
NOTE = "With JavaScript on, this figure has controls that you can move."


@dataclass(frozen=True)
class Explorable:
    """A display object: HTML for the page, one stable line of text for everything else."""

    page: str
    text: str

    def _repr_html_(self) -> str:
        return self.page

    def __repr__(self) -> str:
        return self.text


def explorable(
    name: str, data: dict[str, Any], *, title: str, static_html: str, text: str
) -> Explorable:
    """Display ``data`` as a figure that its reader can move.

    Args:
        name: the explorable, and its script ``labs/book/js/<name>.js``.
        data: what the script needs; arrays and tensors become lists. No NaN, no infinity. Round
            it: every digit is loaded with the page.
        title: the figure's caption, in plain text. Two figures of one page and name need two.
        static_html: one state of the figure as HTML, for a page without scripts.
        text: one stable line that says what the figure shows (``text/plain``).

    Raises:
        FileNotFoundError: there is no script of that name.
        ValueError: ``text`` has several lines, or the data has a number that JSON does not know.
    """
    if "\n" in text.strip():
        raise ValueError("text must be one line: it is the figure's stable text output")
    figure_id = f"explorable-{name}-{_slug(title)}".replace("_", "-")
    style = (SCRIPTS / "explorable.css").read_text("utf-8") + _optional(SCRIPTS / f"{name}.css")
    script = (SCRIPTS / "explorable.js").read_text("utf-8")
    script += (SCRIPTS / f"{name}.js").read_text("utf-8")
    if "</script" in script.lower() or "</style" in style.lower():
        raise ValueError(f"{name}: a closing script or style tag would end the figure early")
    page = (
        f"<style>\n{style}</style>\n"
        f'<figure class="explorable" id="{figure_id}" data-explorable="{html.escape(name)}">\n'
        f'<figcaption class="explorable-title">{html.escape(title)}</figcaption>\n'
        f'<div class="explorable-static">\n{static_html}\n'
        f'<p class="explorable-note">{NOTE}</p>\n</div>\n'
        '<div class="explorable-live" hidden></div>\n'
        f'<script type="application/json" class="explorable-data">{_json(data)}</script>\n'
        "</figure>\n"
        f'<script>\n(() => {{\n"use strict";\n{script}}})();\n</script>'
    )
    return Explorable(page=page, text=text.strip())


def _slug(title: str) -> str:
    """'Where the bytes are' -> 'where-the-bytes-are', so that ids are stable and say something."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "figure"


def _optional(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


def _json(data: dict[str, Any]) -> str:
    """Data on one line; nothing in it can end the script element or open a comment."""
    text = json.dumps(
        data, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
    )
    return text.replace("<", "\\u003c")


def _plain(value: Any) -> Any:
    """NumPy arrays, scalars and tensors know how to become lists and numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"an explorable's data cannot hold a {type(value).__name__}")
