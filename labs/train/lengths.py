"""Train short, test long: tiny byte models with learned, rotary and linear-bias positions.

`python -m labs.train.lengths` trains each on 64 bytes of context with three seeds, tests it on 512,
and writes `data/measurements/lengths.json`. The design is that of Press et al. (2022), sec. 2.
"""

from __future__ import annotations

import json
import time
from datetime import date

import torch
from torch import Tensor

from labs.book.files import write_json
from labs.book.machine import device, seed_everything, versions
from labs.model.transformer import GPT, Config
from labs.text import corpus
from labs.train.extension import binned_losses, windows
from labs.train.training import Recipe, Trainer, token_losses

POSITIONS = ("learned", "rope", "alibi")
TRAINED, TESTED, SEEDS, STEPS = 64, 512, (0, 1, 2), 800
MEASURED = corpus.DATA / "measurements" / "lengths.json"


def text_bytes(split: str) -> Tensor:
    """All works of a split as one string of bytes, (N,) uint8."""
    joined = b"".join(work.data for work in corpus.split(split))
    return torch.frombuffer(bytearray(joined), dtype=torch.uint8)


def trainer(positions: str, seed: int, tokens: Tensor) -> Trainer:
    """A fresh byte model with these positions, and its training on TRAINED bytes of context."""
    seed_everything(seed)
    config = Config(256, TRAINED, n_layers=2, n_heads=4, d_model=64, positions=positions)
    recipe = Recipe(STEPS, batch_size=16, context_length=TRAINED, lr=5e-3, warmup=50, seed=seed)
    return Trainer(GPT(config).to(device()), tokens, recipe)


def with_room(model: GPT, length: int = TESTED) -> GPT:
    """The model for longer text: learned positions get rows that training never touched.

    Other positions need no room; the model is then returned as it is.
    """
    if model.config.positions != "learned":
        return model
    longer = GPT(Config(**{**model.config.to_dict(), "context_length": length}))
    state = {k: v.cpu() for k, v in model.state_dict().items()}
    fresh = longer.position.weight.detach()[TRAINED:]
    state["position.weight"] = torch.cat((state["position.weight"], fresh))
    longer.load_state_dict(state)
    return longer.to(next(model.parameters()).device)


def long_test(model: GPT, held_out: Tensor) -> dict:
    """Loss (nats per byte) by position on windows (B, TESTED + 1), and on the same bytes in
    windows of TRAINED that move by half their length."""
    short = [token_losses(model, row, TRAINED, TRAINED // 2) for row in held_out]
    return {
        "by_position": binned_losses(with_room(model), held_out.long()),
        "short_windows": torch.stack(short)[:, TRAINED:].mean().item(),
    }


def measure() -> dict:
    """Every kind of position, three seeds; about four minutes on one core."""
    train, held_out = text_bytes("train"), windows(text_bytes("validation"), TESTED, 48)
    start, runs = time.perf_counter(), []
    for positions in POSITIONS:
        for seed in SEEDS:
            run = trainer(positions, seed, train)
            losses = run.run()
            result = {"positions": positions, "seed": seed, "losses": losses[:20]}
            runs.append(result | long_test(run.model, held_out))
    return {
        "date": date.today().isoformat(),
        "machine": versions(),
        "seconds": round(time.perf_counter() - start),
        "trained": TRAINED,
        "tested": TESTED,
        "steps": STEPS,
        "runs": runs,
    }


def load() -> dict:
    """The stored measurement. Raises FileNotFoundError when it was never made."""
    return json.loads(MEASURED.read_text(encoding="utf-8"))


if __name__ == "__main__":
    write_json(MEASURED, measure(), digits=5, indent=1)
