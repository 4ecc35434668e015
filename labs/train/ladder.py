"""A ladder from nanoGPT's published CPU recipe to the same held-out loss in less time.

`labs.train.ladder_runs` makes and stores all of them; a chapter repeats the first and the last rung
live. The recipe is the one of karpathy/nanoGPT, README, "I only have a macbook", with
`config/train_shakespeare_char.py` for what that command line leaves alone.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, replace
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labs.book.machine import device, progress
from labs.model.transformer import GPT, Config
from labs.text.corpus import shakespeare, split
from labs.train.optim import muon_with_adamw
from labs.train.training import sample_windows

CONTEXT = 64
HELD_OUT = 240  # windows: 20 batches of 12, as many as nanoGPT scores


@dataclass(frozen=True)
class Rung:
    """One way to train. The defaults are nanoGPT's; `steps` is the length of the schedule."""

    name: str = "nanoGPT's recipe"
    steps: int = 2000
    batch: int = 12
    lr: float = 1e-3
    warmup: int = 100
    shape: str = "cosine"  # to a tenth of the peak; or "linear", to 0
    beta2: float = 0.99
    init: float = 0.02  # standard deviation of the initial weights
    norm: str = "layernorm"
    positions: str = "learned"
    mlp: str = "gelu"
    qk_norm: bool = False
    optimizer: str = "adamw"
    averaged: float = 0.0  # decay of an exponential average of the weights; 0: none
    low_precision: bool = False  # matrix products in `fast_dtype`

    def lr_at(self, step: int) -> float:
        """Linear warm-up, then down to 10 % (cosine) or to 0 (linear) at `steps`."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / (self.steps - self.warmup)
        if self.shape == "linear":
            return self.lr * (1 - done)
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        return self.lr * (0.1 + 0.9 * cosine)


@cache
def vocabulary() -> bytes:
    """The characters of the corpus, sorted; one token each, as in nanoGPT."""
    return bytes(sorted(set(b"".join(work.data for work in shakespeare()))))


@cache
def characters(name: str) -> Tensor:
    """The characters of a split, (N,) uint8: places in `vocabulary`."""
    place = torch.zeros(256, dtype=torch.uint8)
    place[list(vocabulary())] = torch.arange(len(vocabulary()), dtype=torch.uint8)
    text = bytearray(b"".join(work.data for work in split(name)))
    return place[torch.frombuffer(text, dtype=torch.uint8).long()]


@cache
def held_out_windows() -> Tensor:
    """Windows spread evenly over the validation works, (HELD_OUT, CONTEXT + 1) int64."""
    text = characters("validation")
    starts = torch.linspace(0, len(text) - CONTEXT - 1, HELD_OUT).long()
    return text[starts[:, None] + torch.arange(CONTEXT + 1)].long()


@torch.no_grad()
def held_out_loss(model: nn.Module) -> float:
    """Mean loss in nats per character, over every position of the held-out windows."""
    windows = held_out_windows().to(next(model.parameters()).device)
    logits = model(windows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten()).item()


def untrained(rung: Rung, seed: int) -> GPT:
    """4 layers, 4 heads, 128 wide, without biases or dropout, the head tied to the embedding."""
    torch.manual_seed(seed)
    config = Config(
        len(vocabulary()), CONTEXT, 4, 4, 128,
        norm=rung.norm, positions=rung.positions, mlp=rung.mlp, qk_norm=rung.qk_norm,
    )  # fmt: skip
    model = GPT(config)
    model.init_weights(rung.init)
    return model.to(device())


def optimizers_of(rung: Rung, model: nn.Module) -> list[torch.optim.Optimizer]:
    """AdamW that decays matrices by 0.1, or Muon for the matrices of the blocks beside it."""
    if rung.optimizer == "muon":
        return muon_with_adamw(model, rung.lr, betas=(0.9, rung.beta2), dtype=fast_dtype())
    groups = [
        {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    return [torch.optim.AdamW(groups, lr=rung.lr, betas=(0.9, rung.beta2))]


def fast_dtype() -> torch.dtype:
    """bfloat16 where the processor multiplies it, else float32 (emulation is slower)."""
    if device().type == "cuda" or torch.cpu._is_avx512_bf16_supported():
        return torch.bfloat16
    return torch.float32


class Run:
    """One run of a rung, with a clock that stands still while held-out text is scored."""

    def __init__(self, rung: Rung, seed: int = 0):
        self.rung = rung
        self.generator = torch.Generator().manual_seed(seed)
        self.model = untrained(rung, seed)
        self.average = copy.deepcopy(self.model) if rung.averaged else None
        self.optimizers = optimizers_of(rung, self.model)
        self.tokens = characters("train")
        self.step, self.seconds = 0, 0.0
        self.curve: list[tuple[int, float, float]] = []  # step, seconds, held-out loss
        self.losses: list[float] = []  # of every batch, before its update

    def next_windows(self) -> Tensor:
        """The next batch, (batch, CONTEXT + 1) int64 on the model's device."""
        return sample_windows(self.tokens, self.rung.batch, CONTEXT, self.generator).to(device())

    def batch_loss(self, windows: Tensor) -> Tensor:
        """Mean loss of the windows, nats per character."""
        low = fast_dtype() if self.rung.low_precision else torch.float32
        with torch.autocast(device().type, low, enabled=low != torch.float32):
            logits = self.model(windows[:, :-1])
        return F.cross_entropy(logits.float().flatten(0, 1), windows[:, 1:].flatten())

    def train_step(self) -> None:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rung.lr_at(self.step)
        loss = self.batch_loss(self.next_windows())
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.losses.append(loss.item())
        self.step += 1
        if self.average is not None:
            self._average()

    @torch.no_grad()
    def _average(self) -> None:
        weight = max(1 - self.rung.averaged, 1 / self.step)
        pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
        for mean, new in pairs:
            mean.lerp_(new, weight)

    def score(self) -> float:
        """Score the held-out windows and keep the result."""
        loss = held_out_loss(self.model if self.average is None else self.average)
        self.curve.append((self.step, self.seconds, loss))
        return loss

    def run(self, every: int, first: int = 0, target: float = 0.0, limit: int | None = None) -> Run:
        """Train, scoring every `every` steps from `first` on and at the end.

        Stops when the loss is at or below `target`, or after `limit` steps of the schedule.
        """
        end = limit or self.rung.steps
        for _ in progress(range(end), desc=self.rung.name, unit="step"):
            start = time.perf_counter()
            self.train_step()
            self.seconds += time.perf_counter() - start
            due = self.step >= first and self.step % every == 0
            if (due or self.step == end) and self.score() <= target:
                break
        return self

    @property
    def loss(self) -> float:
        """The last held-out loss, nats per character."""
        return self.curve[-1][2]


NANOGPT = Rung()
LADDER = [NANOGPT]
for name, changes in {
    "learning rate and schedule": {"lr": 4e-3, "shape": "linear", "steps": 1400},
    "Muon": {"optimizer": "muon", "lr": 1e-2, "warmup": 20, "steps": 480},
    "initialisation": {"init": 0.05, "steps": 430},
    "RoPE": {"positions": "rope", "steps": 310},
    "QK-norm": {"qk_norm": True, "steps": 270},
    "bfloat16": {"low_precision": True},
}.items():
    LADDER.append(replace(LADDER[-1], name=name, **changes))
BEST = LADDER[-1]
NOT_KEPT = [
    replace(BEST, name=name, **changes)
    for name, changes in {
        "RMSNorm": {"norm": "rmsnorm"},
        "SwiGLU": {"mlp": "swiglu"},
        "batch of 24": {"batch": 24, "steps": 150},
        "weight averaging": {"averaged": 0.95},
        "batch of 6": {"batch": 6, "steps": 400},
    }.items()
]
