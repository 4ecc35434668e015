"""Pretraining BERT on masked tokens: framed windows, the loss at hidden positions, evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from labs.model.bert import BertForPretraining
from labs.text.wordpiece import WordPieceTokenizer
from labs.train.objectives import IGNORE, mask_tokens
from labs.train.training import Recipe, Trainer, sample_windows


@dataclass(frozen=True)
class MaskedLoss:
    """Held-out loss over the selected positions, and how often the likeliest token is right."""

    nats: float
    correct: int
    n_tokens: int

    @property
    def nats_per_token(self) -> float:
        return self.nats / self.n_tokens

    @property
    def accuracy(self) -> float:
        return self.correct / self.n_tokens


def framed(windows: Tensor, tokenizer: WordPieceTokenizer) -> Tensor:
    """[CLS] window [SEP] for each row of windows (B, T-2): (B, T)."""
    edge = windows.new_full((len(windows), 1), tokenizer.cls)
    return torch.cat((edge, windows, torch.full_like(edge, tokenizer.sep)), dim=1)


def hide(
    ids: Tensor, tokenizer: WordPieceTokenizer, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """`mask_tokens` with BERT's rate and shares, for this tokenizer: inputs and targets (B, T)."""
    return mask_tokens(
        ids,
        mask_id=tokenizer.mask,
        vocab_size=tokenizer.vocab_size,
        special_ids=tokenizer.special_ids,
        generator=generator,
    )


def masked_logits(
    model: BertForPretraining, inputs: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Logits (n, vocab_size) and targets (n,) at the n positions of (B, T) that have a target."""
    device = next(model.parameters()).device
    inputs, targets = inputs.to(device), targets.to(device)
    at = targets != IGNORE
    return model(inputs, at=at), targets[at]


class MaskedTrainer(Trainer):
    """The book's loop on BERT's masked-token loss; nothing else is computed at other positions."""

    def __init__(
        self,
        model: BertForPretraining,
        tokens: Tensor,
        recipe: Recipe,
        tokenizer: WordPieceTokenizer,
    ):
        super().__init__(model, tokens, recipe)
        self.tokenizer = tokenizer

    def batch_loss(self) -> Tensor:
        """Mean loss over the hidden positions of the next batch, nats per hidden token."""
        recipe = self.recipe
        # `sample_windows` adds one token for a causal target, and the frame takes two.
        windows = sample_windows(
            self.tokens, recipe.batch_size, recipe.context_length - 3, self.generator
        )
        ids = framed(windows, self.tokenizer)
        logits, targets = masked_logits(self.model, *hide(ids, self.tokenizer, self.generator))
        return F.cross_entropy(logits, targets)


def framed_text(
    tokens: Tensor, tokenizer: WordPieceTokenizer, context_length: int, batch_size: int = 32
) -> Iterator[Tensor]:
    """A text (N,) once, in framed windows without overlap, (≤ batch_size, context_length) each.

    The rest that fills no window is left out.
    """
    content = context_length - 2
    windows = tokens[: len(tokens) // content * content].view(-1, content).long()
    for part in windows.split(batch_size):
        yield framed(part, tokenizer)


@torch.no_grad()
def evaluate_masked(
    model: BertForPretraining,
    tokens: Tensor,
    tokenizer: WordPieceTokenizer,
    context_length: int,
    seed: int = 0,
) -> MaskedLoss:
    """Held-out loss of a text (N,): the same positions are hidden for every model of a `seed`."""
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    nats, correct, n = 0.0, 0, 0
    for ids in framed_text(tokens, tokenizer, context_length):
        logits, targets = masked_logits(model, *hide(ids, tokenizer, generator))
        nats += F.cross_entropy(logits, targets, reduction="sum").item()
        correct += (logits.argmax(-1) == targets).sum().item()
        n += len(targets)
    return MaskedLoss(nats, correct, n)
