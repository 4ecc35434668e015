"""Many copies of one small model, trained at once, each with its own learning rates.

A comparison of schedules needs many runs that differ only in rate and seed. One small model leaves
a processor idle between its operations; `vmap` runs the same operation of all copies as one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from labs.book.machine import progress
from labs.train.training import sample_batch


@dataclass
class Copies:
    """`n` language models with stacked weights: entry i of each tensor belongs to copy i.

    make: the model of a seed; all must have one architecture. Copies of one seed start equal.
    tokens: the training text, (N,) int64; copies of one seed read the same batches.
    """

    make: Callable[[int], nn.Module]
    seeds: Sequence[int]
    tokens: Tensor
    batch_size: int = 8
    context_length: int = 32
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    step: int = 0
    params: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        models = [self.make(seed) for seed in self.seeds]
        self.base = models[0]
        self.params = {
            name: stacked.detach() for name, stacked in stack_module_state(models)[0].items()
        }
        self.device = next(iter(self.params.values())).device
        self.mean = {name: torch.zeros_like(p) for name, p in self.params.items()}
        self.square = {name: torch.zeros_like(p) for name, p in self.params.items()}
        self.generators = {seed: torch.Generator().manual_seed(seed) for seed in set(self.seeds)}
        self.gradients = vmap(grad_and_value(self._loss))

    def _loss(self, params: dict[str, Tensor], ids: Tensor, targets: Tensor) -> Tensor:
        logits = functional_call(self.base, params, (ids,))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def _batches(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets of all copies, both (n, batch_size, context_length)."""
        sizes = self.batch_size, self.context_length
        drawn = {s: sample_batch(self.tokens, *sizes, g) for s, g in self.generators.items()}
        return tuple(
            torch.stack([drawn[seed][i] for seed in self.seeds]).to(self.device) for i in (0, 1)
        )

    def train_step(self, rates: Tensor) -> Tensor:
        """One AdamW update of every copy at its own rate; returns the losses before it, (n,)."""
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernel has no rule for vmap
            grads, losses = self.gradients(self.params, *self._batches())
        squares = sum(g.flatten(1).square().sum(1) for g in grads.values())
        scale = (self.clip / squares.sqrt().clamp(min=1e-6)).clamp(max=1.0)
        self.step += 1
        for name, gradient in grads.items():
            self._update(name, gradient * _like(scale, gradient), rates.to(gradient))
        return losses.detach().cpu()

    def _update(self, name: str, gradient: Tensor, rates: Tensor) -> None:
        """AdamW with decoupled decay of matrices (Loshchilov and Hutter, 2019, algorithm 2)."""
        b1, b2 = self.betas
        p, rate = self.params[name], _like(rates, gradient)
        mean = self.mean[name].mul_(b1).add_(gradient, alpha=1 - b1)
        square = self.square[name].mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
        if p.dim() > 2:  # a matrix of each copy
            p.mul_(1 - rate * self.weight_decay)
        size = (square / (1 - b2**self.step)).sqrt_().add_(1e-8)
        p.sub_(rate * mean / size / (1 - b1**self.step))

    def run(self, rates: Tensor, every: int = 0, held_out: Tensor | None = None) -> list[Tensor]:
        """Train with `rates` (n, steps); returns the training losses, one (n,) for each step.

        With `every`, the held-out loss of all copies is appended to `self.scores` as
        (step, (n,)) after each `every` steps.
        """
        self.scores: list[tuple[int, Tensor]] = getattr(self, "scores", [])
        losses = []
        for column in progress(rates.unbind(1), desc=f"{len(self.seeds)} copies", unit="step"):
            losses.append(self.train_step(column))
            if every and self.step % every == 0:
                self.scores.append((self.step, self.score(held_out)))
        return losses

    @torch.no_grad()
    def score(self, held_out: Tensor) -> Tensor:
        """Mean loss of every copy on windows (B, context_length + 1), nats per token, (n,)."""
        ids = held_out.to(self.device)
        with sdpa_kernel(SDPBackend.MATH):
            return vmap(self._loss, in_dims=(0, None, None))(
                self.params, ids[:, :-1], ids[:, 1:]
            ).cpu()


def _like(values: Tensor, tensor: Tensor) -> Tensor:
    """(n,) as (n, 1, …, 1), to be multiplied with a stacked tensor."""
    return values.view(-1, *[1] * (tensor.dim() - 1))


def paired_difference(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Mean of a − b over paired runs (seeds), (n,) each, and the standard error of that mean."""
    difference = (a - b).double()
    return difference.mean().item(), difference.std().item() / len(difference) ** 0.5
