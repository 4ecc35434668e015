"""The training loop: batches, steps, held-out loss, checkpoints that resume to the bit."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labs.book.machine import progress
from labs.train.optim import adamw, warmup_cosine


@dataclass(frozen=True)
class Recipe:
    """How to train: lengths in steps, sizes in tokens, the peak learning rate, and the seed.

    `repeated` is the share of each batch in which a passage is told again and again.
    """

    steps: int
    batch_size: int
    context_length: int
    lr: float
    warmup: int
    min_lr_ratio: float = 0.1
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 0
    repeated: float = 0.0

    def lr_at(self, step: int) -> float:
        return warmup_cosine(
            step,
            steps=self.steps,
            peak=self.lr,
            warmup=self.warmup,
            min_ratio=self.min_lr_ratio,
        )


def sample_windows(
    tokens: Tensor,
    batch_size: int,
    context_length: int,
    generator: torch.Generator,
    repeated: float = 0.0,
) -> Tensor:
    """Random windows of `tokens` (N,): (batch_size, context_length + 1) int64.

    In the first `repeated · batch_size` rows the beginning of the window, of random length, is
    repeated to its end. Raises ValueError when the text is shorter than one window.
    """
    if len(tokens) <= context_length:
        raise ValueError(f"{len(tokens)} tokens hold no window of {context_length} and a target.")
    starts = torch.randint(len(tokens) - context_length, (batch_size,), generator=generator)
    offsets = torch.arange(context_length + 1).repeat(batch_size, 1)
    n_repeated = round(repeated * batch_size)
    if n_repeated:
        # A random period: with a fixed one, a head could copy by position and ignore the content.
        low, high = context_length // 8, context_length // 2 + 1
        offsets[:n_repeated] %= torch.randint(low, high, (n_repeated, 1), generator=generator)
    return tokens[starts[:, None] + offsets].long()


def sample_batch(
    tokens: Tensor,
    batch_size: int,
    context_length: int,
    generator: torch.Generator,
    repeated: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Inputs and next-token targets from `sample_windows`, both (batch_size, context_length)."""
    windows = sample_windows(tokens, batch_size, context_length, generator, repeated)
    return windows[:, :-1], windows[:, 1:]


class Trainer:
    """A model, its optimizer and its source of batches, one step at a time.

    The state that decides the next step is complete in `state_dict`: a resumed run repeats the
    uninterrupted one bit for bit on the same machine with the same number of threads.
    """

    def __init__(self, model: nn.Module, tokens: Tensor, recipe: Recipe):
        self.model, self.tokens, self.recipe = model, tokens, recipe
        self.device = next(model.parameters()).device
        self.optimizer = adamw(model, recipe.lr, recipe.weight_decay)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.step = 0
        self.losses: list[float] = []

    def batch_loss(self) -> Tensor:
        """Mean loss of the next batch, nats per token; another objective overrides this."""
        recipe = self.recipe
        x, y = sample_batch(
            self.tokens,
            recipe.batch_size,
            recipe.context_length,
            self.generator,
            recipe.repeated,
        )
        logits = self.model(x.to(self.device))
        return F.cross_entropy(logits.flatten(0, 1), y.to(self.device).flatten())

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the next step, both (batch_size, context_length) int64."""
        recipe = self.recipe
        return sample_batch(
            self.tokens,
            recipe.batch_size,
            recipe.context_length,
            self.generator,
            recipe.repeated,
        )

    def train_step(self) -> float:
        """One update; returns the batch's mean loss in nats per token, before the update."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr_at(self.step)
        self.model.train()
        loss = self.batch_loss()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.step += 1
        self.losses.append(loss.item())
        return self.losses[-1]

    def run(
        self,
        until: int | None = None,
        after_step: Callable[[Trainer], None] | None = None,
    ) -> list[float]:
        """Train up to step `until` (default: the recipe's end); returns all losses so far."""
        end = self.recipe.steps if until is None else until
        bar = progress(total=end, initial=self.step, desc="training", unit="step")
        with bar:
            while self.step < end:
                loss = self.train_step()
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                bar.update()
                if after_step:
                    after_step(self)
        return self.losses

    def state_dict(self) -> dict:
        """Everything that the next step depends on, and the losses so far."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "batches": self.generator.get_state(),
            "dropout": torch.get_rng_state(),
            "dropout_gpu": torch.cuda.get_rng_state_all(),  # one a GPU
            "step": self.step,
            "losses": self.losses,
            "recipe": asdict(self.recipe),
        }

    def save(self, path: Path) -> None:
        """Write a checkpoint; a reader sees the old file or the new one, never half of it."""
        partial = path.with_suffix(".partial")
        torch.save(self.state_dict(), partial)
        os.replace(partial, path)

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint. Raises ValueError when it was made by another recipe."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            raise ValueError(f"The checkpoint '{path.name}' belongs to another recipe: remove it.")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["batches"].cpu())
        torch.set_rng_state(state["dropout"].cpu())
        here = torch.cuda.device_count()
        torch.cuda.set_rng_state_all([one.cpu() for one in state["dropout_gpu"][:here]])
        self.step, self.losses = state["step"], list(state["losses"])


@dataclass(frozen=True)
class Loss:
    """A held-out loss: total nats over `n_tokens` predictions of a text of `n_bytes` bytes."""

    nats: float
    n_tokens: int
    n_bytes: int

    @property
    def nats_per_token(self) -> float:
        return self.nats / self.n_tokens

    @property
    def bits_per_byte(self) -> float:
        """Comparable between tokenizers, which nats per token are not."""
        return self.nats / math.log(2) / self.n_bytes


@torch.no_grad()
def token_losses(
    model: nn.Module,
    tokens: Tensor,
    context_length: int,
    stride: int,
    batch_size: int = 32,
) -> Tensor:
    """Loss of every token but the first, (N-1,) in nats, each predicted once.

    Windows move by `stride`; a token then sees at least `context_length - stride` tokens before
    it, except at the start of the text.
    """
    model.eval()
    device = next(model.parameters()).device
    losses = torch.empty(len(tokens) - 1)
    starts = list(range(0, max(1, len(tokens) - 1 - context_length + stride), stride))
    for i in range(0, len(starts), batch_size):
        # The last window may be shorter; it is then run alone.
        for group in _by_length(starts[i : i + batch_size], len(tokens), context_length):
            windows = torch.stack([tokens[a:b].long() for a, b in group]).to(device)
            logits = model(windows[:, :-1])
            # Flat, since CUDA has no deterministic kernel for logits of (B, V, T).
            nats = F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten(), reduction="none")
            nats = nats.view(len(group), -1).cpu()
            for (start, end), row in zip(group, nats, strict=True):
                skip = 0 if start == 0 else context_length - stride
                losses[start + skip : end - 1] = row[skip:]
    return losses


def _by_length(starts: list[int], n: int, context_length: int) -> list[list[tuple[int, int]]]:
    """Windows (start, end) grouped so that all windows of a group have one length."""
    windows = [(start, min(start + context_length + 1, n)) for start in starts]
    full = [window for window in windows if window[1] - window[0] == context_length + 1]
    rest = [[window] for window in windows if window[1] - window[0] <= context_length]
    return ([full] if full else []) + rest


def evaluate(
    model: nn.Module,
    tokens: Tensor,
    n_bytes: int,
    context_length: int,
    stride: int | None = None,
) -> Loss:
    """Held-out loss of a text given as `tokens` (N,), the first of which is not predicted.

    `n_bytes` are the bytes of all tokens but the first. Default stride: half a context.
    """
    losses = token_losses(model, tokens, context_length, stride or context_length // 2)
    return Loss(losses.double().sum().item(), losses.numel(), n_bytes)
