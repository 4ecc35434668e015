"""Check a claim of the ledger from a notebook cell.

    with claim("q06-c02") as c:
        c.stated(condition, "what was observed")     # is the claim, as stated, true here?
        c.corrected(condition, "what was observed")  # imprecise only: is the correction true?

The check fails when what was observed contradicts the recorded verdict. The rules (`judge`)
let exactly one verdict fit any record of observations, so flipping a verdict in
`data/claims.yml` always makes its chapter fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from IPython.display import display

from labs.book.cards import card_html, card_text, summary_html, summary_text
from labs.book.claims import (
    VERDICTS,
    Claim,
    LedgerError,
    claims_of,
    find_claim,
    load_claims,
    load_questions,
)

__all__ = [
    "Claim", "ClaimContradicted", "LedgerError", "Observations", "VerdictSummary",
    "claim", "claims_of", "judge", "load_claims", "load_questions", "verdict_summary",
]  # fmt: skip


class ClaimContradicted(AssertionError):
    """What an experiment observed does not fit the verdict recorded in the ledger."""


def judge(verdict: str, stated: list[bool], corrected: list[bool]) -> str | None:
    """Why the observations contradict `verdict`, or None when they are consistent with it.

    stated: for each observation, whether the claim as stated was true in it.
    corrected: likewise for the corrected statement; only an imprecise claim has one.
    """
    if verdict not in VERDICTS:
        raise LedgerError(f"{verdict!r} is not a verdict ({', '.join(VERDICTS)}).")
    if not stated:
        return "nothing was observed about the claim as stated"
    if verdict != "imprecise" and corrected:
        return f"only an imprecise claim has a corrected statement, and the verdict is {verdict}"
    if verdict == "holds" and not all(stated):
        return "the verdict is holds, but the claim as stated was false in an observation"
    if verdict == "limited" and not (any(stated) and not all(stated)):
        return (
            "the verdict is limited, which needs a case where the claim is true and one where not"
        )
    if verdict in ("imprecise", "wrong") and any(stated):
        return f"the verdict is {verdict}, but the claim as stated was true in an observation"
    if verdict == "imprecise" and not corrected:
        return "the verdict is imprecise, but nothing was observed about the corrected statement"
    if verdict == "imprecise" and not all(corrected):
        return "the verdict is imprecise, but the corrected statement was false in an observation"
    return None


@dataclass
class Observations:
    """What one experiment observed about one claim, as pairs (true or false, in words)."""

    on_stated: list[tuple[bool, str]] = field(default_factory=list)
    on_corrected: list[tuple[bool, str]] = field(default_factory=list)

    def stated(self, is_true: bool, observed: str) -> None:
        """Record whether the claim as stated is true in what was `observed`."""
        self.on_stated.append((_truth(is_true), _words(observed)))

    def corrected(self, is_true: bool, observed: str) -> None:
        """Record whether the corrected statement is true in what was `observed`."""
        self.on_corrected.append((_truth(is_true), _words(observed)))

    def judged_by(self, verdict: str) -> str | None:
        """`judge` for these observations."""
        return judge(verdict, [t for t, _ in self.on_stated], [t for t, _ in self.on_corrected])

    def record(self, claim_id: str) -> dict:
        """The observations as plain data, for the metadata of the displayed card."""

        def plain(pairs: list[tuple[bool, str]]) -> list[dict]:
            return [{"true": truth, "observed": words} for truth, words in pairs]

        return {
            "id": claim_id,
            "stated": plain(self.on_stated),
            "corrected": plain(self.on_corrected),
        }


@contextmanager
def claim(claim_id: str) -> Iterator[Observations]:
    """Put the claim `claim_id` on trial; displays its card when the verdict stands.

    Raises `LedgerError` for a claim that is unknown or has no experiment, `ClaimContradicted`
    when the observations do not fit the verdict; an exception in the body passes through.
    The card's metadata carry the observations, so that they can be judged again without a run.
    """
    entry = find_claim(claim_id)
    if entry.experiment is None:
        raise LedgerError(f"{claim_id} has no experiment: its source decides it.")
    observations = Observations()
    yield observations
    reason = observations.judged_by(entry.verdict)
    if reason:
        seen = "; ".join(
            f"{kind} {'true' if truth else 'false'}: {words}"
            for kind, pairs in (
                ("as stated", observations.on_stated),
                ("corrected", observations.on_corrected),
            )
            for truth, words in pairs
        )
        raise ClaimContradicted(f"{claim_id}: {reason}. Observed: {seen or 'nothing'}.")
    card = {"text/html": card_html(entry), "text/plain": card_text(entry)}
    display(card, raw=True, metadata={"claim": observations.record(claim_id)})


@dataclass(frozen=True)
class VerdictSummary:
    """The verdicts of one chapter; a notebook shows it as a table."""

    claims: tuple[Claim, ...]

    def _repr_html_(self) -> str:
        return summary_html(list(self.claims))

    def __repr__(self) -> str:
        return summary_text(list(self.claims))


def verdict_summary(question: int) -> VerdictSummary:
    """The table "Claims on trial" of a question; each entry links to its deciding cell."""
    claims = claims_of(question)
    if not claims:
        raise LedgerError(f"The ledger has no claim of question {question}.")
    return VerdictSummary(tuple(claims))


def _truth(value: object) -> bool:
    """`value` as a plain bool; accepts NumPy and PyTorch booleans, refuses numbers."""
    if isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool"):
        return bool(value)
    raise TypeError(f"An observation is true or false, not {value!r}.")


def _words(observed: object) -> str:
    if not isinstance(observed, str) or not observed.strip():
        raise TypeError("Say in a few words what was observed.")
    return observed
