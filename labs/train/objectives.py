"""Training examples from raw token ids: causal, masked and span-corruption objectives.

An objective maps windows of T+1 ids to inputs and targets of T positions, so that a step of each
costs the same. Nothing but ids and a random generator goes in: no label, no annotation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labs.train.losses import IGNORE
from labs.train.training import Recipe, Trainer, sample_windows


@dataclass(frozen=True)
class Examples:
    """A batch: inputs and targets (B, T) int64, IGNORE where there is no loss.

    `mask`: (T, T) bool, True where a query may look; None leaves that to the model.
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor | None = None


Objective = Callable[[Tensor, torch.Generator], Examples]


def causal(windows: Tensor, generator: torch.Generator | None = None) -> Examples:
    """Next-token prediction (Radford et al., 2018, eq. 1): a target at each of the T positions."""
    return Examples(windows[:, :-1], windows[:, 1:])


def mask_tokens(
    ids: Tensor,
    *,
    mask_id: int,
    vocab_size: int,
    generator: torch.Generator,
    special_ids: Iterable[int] = (),
    rate: float = 0.15,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
) -> tuple[Tensor, Tensor]:
    """Select positions and hide them (Devlin et al., 2019, sec. 3.1, Task #1).

    Each position is selected with probability `rate`, alone. Of the selected, `shares` become the
    mask, become a random token, stay. Special tokens are never selected and never drawn.

    Args:
        ids: token ids of any shape, on the CPU.
        mask_id: the id that hides; counts as special.
        vocab_size: random tokens are drawn evenly from 0 … vocab_size-1 without the special ones.
        special_ids: ids such as [CLS], [SEP], [PAD].

    Returns:
        inputs and targets of the shape of `ids`: the original where selected, IGNORE elsewhere.

    Raises:
        ValueError: the shares do not sum to 1, or the rate is no probability.
    """
    if abs(sum(shares) - 1) > 1e-9 or min(shares) < 0 or not 0 <= rate <= 1:
        raise ValueError(f"Shares must sum to 1 and the rate be in 0 … 1: {shares}, {rate}.")
    special = torch.tensor(sorted({mask_id, *special_ids}))
    ordinary = torch.arange(vocab_size)
    ordinary = ordinary[~torch.isin(ordinary, special)]
    # Three draws of fixed size: what happens at one position never moves the others.
    selected = torch.rand(ids.shape, generator=generator) < rate
    fate = torch.rand(ids.shape, generator=generator)
    random = ordinary[torch.randint(len(ordinary), ids.shape, generator=generator)]
    selected &= ~torch.isin(ids, special)
    hidden = selected & (fate < shares[0])
    replaced = selected & ~hidden & (fate < shares[0] + shares[1])
    inputs = torch.where(hidden, mask_id, torch.where(replaced, random, ids))
    return inputs, torch.where(selected, ids, IGNORE)


@dataclass(frozen=True)
class Masked:
    """Masked language modelling as an objective; the trunk must not be causal."""

    mask_id: int
    vocab_size: int
    special_ids: tuple[int, ...] = ()
    rate: float = 0.15
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)

    def __call__(self, windows: Tensor, generator: torch.Generator) -> Examples:
        ids = windows[:, :-1]
        return Examples(*mask_tokens(ids, generator=generator, **asdict(self)))


def span_counts(length: int, rate: float = 0.15, mean_span: float = 3.0) -> tuple[int, int]:
    """Tokens and spans to drop from `length` tokens: fixed numbers, as in T5's code."""
    dropped = min(max(round(length * rate), 1), length - 1)
    spans = min(max(round(dropped / mean_span), 1), dropped, length - dropped + 1)
    return dropped, spans


def span_corruption(
    ids: Tensor,
    sentinels: Tensor,
    generator: torch.Generator,
    rate: float = 0.15,
    mean_span: float = 3.0,
) -> tuple[Tensor, Tensor]:
    """Drop spans and ask for them (Raffel et al., 2020, sec. 3.1.4, fig. 2; spans: sec. 3.3.4).

    ids: (B, L). Each dropped span leaves one sentinel; the target is each sentinel with what it
    stands for, and a final sentinel. With d tokens in s spans (`span_counts`):
    inputs (B, L - d + s), targets (B, d + s + 1). All placements of disjoint, non-touching spans
    of these lengths are equally likely (T5's code instead ends every window with a span).
    Raises ValueError when there are not s + 1 sentinels.
    """
    (batch, length), (dropped, spans) = ids.shape, span_counts(ids.size(1), rate, mean_span)
    if len(sentinels) <= spans:
        raise ValueError(f"{spans} spans need {spans + 1} sentinels, not {len(sentinels)}.")
    inside = _segments(batch, dropped, spans, generator)
    # The first and the last gap may be empty, the others not: borrow one token for each end.
    outside = _segments(batch, length - dropped + 2, spans + 1, generator)
    outside[:, 0] -= 1
    starts = outside[:, :-1].cumsum(1) + inside.cumsum(1) - inside  # (B, s)
    place = torch.arange(length)
    begins = (place == starts[..., None]).any(1)  # (B, L)
    drop = ((place >= starts[..., None]) & (place < (starts + inside)[..., None])).any(1)
    marks = sentinels[(begins.cumsum(1) - 1).clamp(min=0)]  # (B, L): the latest span's sentinel
    inputs = torch.where(begins, marks, ids)[~drop | begins].view(batch, -1)
    pairs = torch.stack((marks, ids), -1)  # before each span its sentinel
    targets = pairs[torch.stack((begins, drop), -1)].view(batch, -1)
    return inputs, torch.cat((targets, sentinels[spans].expand(batch, 1)), 1)


def _segments(batch: int, items: int, parts: int, generator: torch.Generator) -> Tensor:
    """`items` cut into `parts` of length ≥ 1, all ways equally likely: (batch, parts)."""
    order = torch.rand(batch, items - 1, generator=generator).argsort(1)
    cuts = order[:, : parts - 1].sort(1).values + 1
    return torch.diff(
        cuts, prepend=torch.zeros(batch, 1).long(), append=cuts.new_tensor(items).expand(batch, 1)
    )


def prefix_mask(prefix: int, length: int) -> Tensor:
    """(length, length) bool: the first `prefix` positions see each other, the rest is causal."""
    mask = torch.ones(length, length, dtype=torch.bool).tril()
    mask[:, :prefix] = True
    return mask


@dataclass(frozen=True)
class Spans:
    """Span corruption on one stack: inputs and targets in a row, a prefix LM.

    Raffel et al., 2020, sec. 3.2.1, figs. 3 and 4, right. The trunk must not be causal: the mask
    that comes with the batch is. `window_for` says how many raw tokens fill T positions.
    """

    sentinels: tuple[int, ...]
    rate: float = 0.15
    mean_span: float = 3.0

    def window_for(self, positions: int) -> int:
        """Raw tokens L that make at most `positions` positions: L + 2 s for s spans."""
        return max(n for n in range(2, positions + 1) if n + 2 * self._spans(n) <= positions)

    def _spans(self, length: int) -> int:
        return span_counts(length, self.rate, self.mean_span)[1]

    def __call__(self, windows: Tensor, generator: torch.Generator) -> Examples:
        ids = windows[:, : self.window_for(windows.size(1) - 1)]
        marks = torch.tensor(self.sentinels)
        shown, asked = span_corruption(ids, marks, generator, self.rate, self.mean_span)
        silent = torch.full((len(ids), shown.size(1) - 1), IGNORE)
        inputs = torch.cat((shown, asked[:, :-1]), 1)
        mask = prefix_mask(shown.size(1), inputs.size(1))
        return Examples(inputs, torch.cat((silent, asked), 1), mask)


def loss_of(model: nn.Module, examples: Examples) -> Tensor:
    """Mean cross-entropy over the targets of a batch, nats per target."""
    device = next(model.parameters()).device
    mask = None if examples.mask is None else examples.mask.to(device)
    logits = model(examples.inputs.to(device), mask)
    return F.cross_entropy(logits.flatten(0, 1), examples.targets.to(device).flatten())


class ObjectiveTrainer(Trainer):
    """The book's training loop with any objective: windows, examples, loss, update."""

    def __init__(self, model: nn.Module, tokens: Tensor, recipe: Recipe, objective: Objective):
        super().__init__(model, tokens, recipe)
        self.objective = objective

    def batch_loss(self) -> Tensor:
        recipe = self.recipe
        windows = sample_windows(
            self.tokens, recipe.batch_size, recipe.context_length, self.generator, recipe.repeated
        )
        return loss_of(self.model, self.objective(windows, self.generator))
