"""Plays as printed: speakers, speeches, stage directions, verse and prose.

The modern-spelling edition puts each speaker's name on a line of its own and directions in
brackets; the First Folio indents and shortens the name and has no brackets.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache

from labs.text.corpus import Document, document

# Speakers' names stand on a line of their own: `Ham.` or `DEMETRIUS`.
CUE = re.compile(r"[A-Z][A-Za-z' -]{1,28}[.:]|[A-Z][A-Z' -]{1,28}\.?")
FOLIO_CUE = re.compile(r"(?m)^ {2,}[A-Z][A-Za-z0-9.' ]{0,14}?\. ?")  # `  Ham. To be, or not`
IN_BRACKETS = re.compile(r"\[[^\[\]]*\]")


@dataclass(frozen=True)
class Speech:
    """One speech of a modern-spelling play: who speaks, and the lines without directions."""

    speaker: str
    lines: tuple[str, ...]


def plain(text: str) -> str:
    """Lower-case, one line, single spaces: no layout and no capitals to read a label from."""
    return " ".join(text.lower().split())


def spoken(text: str) -> str:
    """Without stage directions; where a bracket is not closed, its line is left out from there."""
    return re.sub(r"\[.*|\]", "", IN_BRACKETS.sub("", text))


def blocks(work: Document) -> list[str]:
    """The paragraphs of a work, as printed."""
    return [block.strip("\n") for block in re.split(r"\n\s*\n", work.text) if block.strip()]


@cache
def speeches(work: Document) -> tuple[Speech, ...]:
    """The speeches of a modern-spelling play, in order. A speaker speaks at least twice."""
    found = []
    for block in blocks(work):
        name, _, rest = block.partition("\n")
        lines = [line for line in spoken(rest).splitlines() if line.strip()]
        if CUE.fullmatch(name.strip()) and lines and "[" not in name:
            found.append(Speech(name.strip(" .:").upper(), tuple(lines)))
    often = Counter(speech.speaker for speech in found)
    return tuple(speech for speech in found if often[speech.speaker] > 1)


def is_verse(speech: Speech) -> bool | None:
    """Whether a speech is verse; None when its layout does not tell.

    Verse: every line starts with a capital. Prose: at most half of the lines after the first do.
    Fewer than three lines after the first tell too little.
    """
    starts = [re.sub(r"^[^A-Za-z]+", "", line)[:1].isupper() for line in speech.lines[1:]]
    if len(starts) < 3:
        return None
    return True if all(starts) else False if sum(starts) <= len(starts) / 2 else None


@cache
def speech_text(name: str) -> str:
    """All speeches of a modern-spelling play as plain text; a poem is taken whole."""
    said = speeches(document(name))
    whole = document(name).text
    return plain(" ".join(" ".join(s.lines) for s in said) if len(said) > 50 else whole)
