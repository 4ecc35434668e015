"""HTML of the ledger: the card that a decided claim shows, and a chapter's table of verdicts.

Colours come from the site's style sheet (`--verdict-*`); the fallbacks in the style attributes
serve JupyterLab. The verdict is always written out, so colour is never the only sign.
"""

from __future__ import annotations

from html import escape

from labs.book.claims import Claim, Source

MARKS = {"holds": "✓", "limited": "◐", "imprecise": "≈", "wrong": "✗"}
_COLORS = {"holds": "#1b8a64", "limited": "#2f7fc4", "imprecise": "#c06f1a", "wrong": "#cf4a50"}


def verdict_color(verdict: str) -> str:
    """A CSS colour for `verdict`: the site's variable, or a fallback without the site."""
    return f"var(--verdict-{verdict}, {_COLORS[verdict]})"


def verdict_html(verdict: str) -> str:
    """The verdict as text, with its mark (hidden from screen readers) before it."""
    mark = f'<span aria-hidden="true">{MARKS[verdict]}</span>'
    return f'<strong class="claim-verdict">{mark} {escape(verdict)}</strong>'


def card_text(entry: Claim) -> str:
    """The card as one stable line of plain text."""
    return f"{entry.verdict} · {entry.id} · {entry.why}"


def card_html(entry: Claim, ledger_page: str = "../ledger.html") -> str:
    """The card of a decided claim, linked to its entry on the ledger page."""
    style = f"border-left: .3rem solid {verdict_color(entry.verdict)}; padding: .5rem 1rem"
    return (
        f'<div class="claim-card verdict-{entry.verdict}" style="{style}">'
        f'<p style="margin: 0">{verdict_html(entry.verdict)} · '
        f'<a class="claim-id" href="{ledger_page}#{entry.id}">{entry.id}</a></p>'
        f'<p class="claim-stated" style="margin: .3rem 0">{stated_html(entry)}</p>'
        f'<p class="claim-why" style="margin: 0">{escape(entry.why)}</p></div>'
    )


def stated_html(entry: Claim) -> str:
    """The claim as stated: in English, then the Chinese words it renders."""
    return f'“{escape(entry.claim)}” <span lang="zh-Hans">「{escape(entry.claim_zh)}」</span>'


def sources_text(entry: Claim) -> str:
    """The sources of `entry` as text: key, place, what was read instead; joined by semicolons."""

    def text(source: Source) -> str:
        place = f"{source.key}, {source.where}" if source.where else source.key
        return f"{place} (read: {source.through})" if source.through else place

    return "; ".join(text(source) for source in entry.source)


def summary_html(claims: list[Claim]) -> str:
    """A chapter's verdicts as a table; each row links to the cell that decides the claim."""
    rows = "".join(
        f'<tr class="verdict-{entry.verdict}"><td>{_decider(entry)}</td>'
        f"<td>{verdict_html(entry.verdict)}</td>"
        f"<td>{stated_html(entry)}</td><td>{escape(entry.why)}</td></tr>"
        for entry in claims
    )
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("Entry", "Verdict", "As stated", "Why")
    )
    return (
        '<div class="ledger-scroll" style="overflow-x: auto" tabindex="0" role="region" '
        'aria-label="Claims on trial in this chapter"><table class="claim-summary">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def summary_text(claims: list[Claim]) -> str:
    """The same table as plain text, one line per claim."""
    return "\n".join(card_text(entry) for entry in claims)


def _decider(entry: Claim) -> str:
    """The entry's id, as a link to its deciding cell; or its source, where no cell decides."""
    if entry.experiment is None:
        where = escape(sources_text(entry))
        return (
            f'<a href="../ledger.html#{entry.id}">{entry.id}</a> <small>decided by {where}</small>'
        )
    return f'<a href="#{entry.anchor}">{entry.id}</a>'
