"""Stretch a stored model's RoPE beyond its training length, then fine-tune a little: does it help?

`python -m labs.train.extension` measures it and writes `data/measurements/extension.json`: loss by
position before and after, for each method and seed, with the losses of every fine-tuning step.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import date

import torch
from torch import Tensor, nn

from labs.book.files import write_json
from labs.book.machine import seed_everything, versions
from labs.model.heads import losses_by_position
from labs.model.positions import Rope, interpolated_rope, ntk_rope, yarn_rope
from labs.model.transformer import GPT
from labs.text.corpus import DATA
from labs.train import pretrained
from labs.train.training import Recipe, Trainer

MODEL, FACTOR, LENGTH, BIN = "shakespeare-gpt", 4, 1024, 64
SEEDS = (0, 1, 2)
WINDOWS = 24  # of LENGTH tokens each, from the validation split
MEASURED = DATA / "measurements" / "extension.json"
# d_head, factor and training length to rotary positions; None leaves RoPE as it was trained.
METHODS: dict[str, Callable[[int, float, int], Rope | None]] = {
    "plain": lambda d_head, factor, trained: None,
    "interpolated": lambda d_head, factor, trained: interpolated_rope(d_head, factor),
    "NTK-aware": lambda d_head, factor, trained: ntk_rope(d_head, factor),
    "YaRN": lambda d_head, factor, trained: yarn_rope(d_head, factor, trained),
}


def recipe(seed: int, steps: int = 40) -> Recipe:
    """One sequence of LENGTH tokens a step, at a tenth of the learning rate of pretraining."""
    return Recipe(steps=steps, batch_size=1, context_length=LENGTH, lr=3e-4, warmup=4, seed=seed)


def windows(tokens: Tensor, length: int = LENGTH, count: int = WINDOWS) -> Tensor:
    """`count` windows of length + 1 tokens, spread evenly over `tokens` (N,): (count, length + 1).

    Raises ValueError when the text is too short for one window.
    """
    if len(tokens) <= length:
        raise ValueError(f"{len(tokens)} tokens hold no window of {length} and a target.")
    starts = torch.linspace(0, len(tokens) - length - 1, count).long()
    return tokens[starts[:, None] + torch.arange(length + 1)]


def stretched(model: GPT, method: str, factor: float = FACTOR) -> GPT:
    """The model with the positions of `method`; it changes `model` itself."""
    d_head = model.config.d_model // model.config.n_heads
    return model.set_rope(METHODS[method](d_head, factor, model.config.context_length))


def binned_losses(model: GPT, ids: Tensor) -> list[float]:
    """Mean loss (nats per token) of each BIN positions on ids (B, T + 1): T / BIN numbers."""
    model.eval()
    ids = ids.to(next(model.parameters()).device)
    rows = [losses_by_position(model, part) for part in ids.split(8)]
    return torch.cat(rows).mean(0).unflatten(0, (-1, BIN)).mean(1).tolist()


def fine_tuner(method: str, seed: int, tokens: Tensor) -> Trainer:
    """A trainer of the stored model with the positions of `method`, dropout off, not yet run."""
    model = stretched(pretrained.load(MODEL).model, method)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # a step then depends on weights and batch alone
    seed_everything(seed)
    return Trainer(model, tokens, recipe(seed))


def measure() -> dict:
    """Before and after fine-tuning: every method, three seeds; about four minutes on one core."""
    stored = pretrained.load(MODEL)
    train, _ = pretrained.encode_split(stored.tokenizer, "train")
    validation, _ = pretrained.encode_split(stored.tokenizer, "validation")
    held_out, start = windows(validation), time.perf_counter()
    before = {m: binned_losses(stretched(stored.model, m), held_out) for m in METHODS}
    runs = []
    for method in METHODS:
        for seed in SEEDS:
            trainer = fine_tuner(method, seed, train)
            losses = trainer.run()
            after = binned_losses(trainer.model, held_out)
            runs.append({"method": method, "seed": seed, "losses": losses, "after": after})
    return {
        "date": date.today().isoformat(),
        "machine": versions(),
        "seconds": round(time.perf_counter() - start),
        "model": MODEL,
        "factor": FACTOR,
        "length": LENGTH,
        "bin": BIN,
        "before": before,
        "runs": runs,
    }


def load() -> dict:
    """The stored measurement. Raises FileNotFoundError when it was never made."""
    return json.loads(MEASURED.read_text(encoding="utf-8"))


if __name__ == "__main__":
    write_json(MEASURED, measure(), digits=5, indent=1)
