"""One pass over a text: every token is a target once, so tokens trained on are tokens of text."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labs.train.training import Recipe, Trainer


class OnePass(Trainer):
    """Reads a text once: its windows do not overlap, and come in random order.

    Windows start `context_length` apart and share one token, the last target of one and the first
    input of the next, so every token but the first is a target exactly once. The recipe's steps
    must be those of one pass (`steps_of_a_pass`).
    """

    def __init__(self, model: nn.Module, tokens: Tensor, recipe: Recipe):
        super().__init__(model, tokens, recipe)
        if recipe.steps > self.steps_of_a_pass(len(tokens), recipe):
            raise ValueError(f"{len(tokens)} tokens do not hold {recipe.steps} steps of one pass.")
        self.windows = tokens.long().unfold(0, recipe.context_length + 1, recipe.context_length)
        self.order = torch.randperm(len(self.windows), generator=self.generator)

    @staticmethod
    def steps_of_a_pass(n_tokens: int, recipe: Recipe) -> int:
        """Full batches that `n_tokens` tokens hold."""
        return (n_tokens - 1) // recipe.context_length // recipe.batch_size

    def next_batch(self) -> tuple[Tensor, Tensor]:
        start = self.step * self.recipe.batch_size
        windows = self.windows[self.order[start : start + self.recipe.batch_size]]
        return windows[:, :-1], windows[:, 1:]
