"""The book's terms in English and Chinese, and the notation that its chapters use.

`data/glossary.yml` and `data/notation.yml`, validated: each term is defined once.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

import yaml
from docutils.nodes import make_id

from labs.book.claims import DATA

_CHINESE = re.compile(r"[\u4e00-\u9fff]")


class GlossaryError(ValueError):
    """`data/glossary.yml` or `data/notation.yml` is not valid."""


@dataclass(frozen=True)
class Term:
    """One entry. `also`: other forms of the word; `not_in`: chapters where it means something
    else; `chapter` explains it."""

    term: str
    zh: str
    definition: str
    chapter: int
    also: tuple[str, ...] = ()
    not_in: tuple[int, ...] = ()

    @property
    def anchor(self) -> str:
        """The id of the entry in the glossary page."""
        return f"term-{make_id(self.term)}"

    @property
    def names(self) -> tuple[str, ...]:
        """Every form that stands for the term."""
        return (self.term, *self.also)


@dataclass(frozen=True)
class Symbol:
    """A symbol in LaTeX, what it means, and the chapters in which it means that."""

    symbol: str
    meaning: str
    chapters: tuple[int, ...]


@functools.cache
def load_terms(path: Path = DATA / "glossary.yml") -> tuple[Term, ...]:
    """Every term, in alphabetical order.

    Raises `GlossaryError` with one sentence that names the entry and what is wrong with it.
    """
    terms = []
    for entry in _entries(path):
        name = str(entry.get("term", entry))
        try:
            lists = {k: tuple(entry[k]) for k in ("also", "not_in") if k in entry}
            term = Term(**{**entry, **lists})
        except TypeError as error:
            raise GlossaryError(f"{name}: its fields are not those of a term.") from error
        _require(_CHINESE.search(term.zh) is not None, name, "`zh` must be Chinese")
        _require(term.chapter in range(1, 21), name, "`chapter` must be 1 to 20")
        _require(term.definition.endswith("."), name, "the definition must be a sentence")
        terms.append(term)
    seen: dict[str, str] = {}
    for term in terms:
        for name in {form.casefold() for form in term.names}:
            _require(name not in seen, term.term, f"{name!r} also stands for {seen.get(name)!r}")
            seen[name] = term.term
    return tuple(sorted(terms, key=lambda term: term.term.casefold()))


@functools.cache
def load_symbols(path: Path = DATA / "notation.yml") -> tuple[Symbol, ...]:
    """Every symbol of the notation table, in the order of the file."""
    symbols = []
    for entry in _entries(path):
        name = str(entry.get("symbol", entry))
        ok = set(entry) == {"symbol", "meaning", "chapters"}
        _require(ok, name, "its fields are not those of a symbol")
        symbols.append(Symbol(entry["symbol"], entry["meaning"], tuple(entry["chapters"])))
    return tuple(symbols)


@functools.cache
def pattern(chapter: int) -> re.Pattern[str]:
    """Matches every form of every term that may be linked in `chapter`, the longest first.

    A word in lower case may begin a sentence; a name such as ZeRO is matched as it is written.
    """
    names = [n for term in load_terms() if chapter not in term.not_in for n in term.names]
    longest = sorted(names, key=len, reverse=True)
    return re.compile(rf"(?<![\w-])({'|'.join(map(_cased, longest))})(?![\w-])")


def _cased(name: str) -> str:
    """The regular expression of one form."""
    first, rest = re.escape(name[0]), re.escape(name[1:])
    return f"[{first}{first.upper()}]{rest}" if name == name.lower() else first + rest


@functools.cache
def by_name() -> dict[str, Term]:
    """The term that each form stands for; forms in lower case."""
    return {name.casefold(): term for term in load_terms() for name in term.names}


def _entries(path: Path) -> list[dict]:
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise GlossaryError(f"{path.name} is not valid YAML: {error}") from error
    is_list = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    _require(is_list, path.name, "it must be a list of entries")
    return entries


def _require(condition: bool, name: str, problem: str) -> None:
    if not condition:
        raise GlossaryError(f"{name}: {problem}.")
