"""Small encoders that differ in the masking recipe only: `python -m labs.train.masking`.

Trunk, text, tokenizer and budget are those of `labs.train.trunks`, whose masked runs (15 %,
80/10/10) are the reference. Here are the others: other shares of mask, random and kept tokens,
other rates, and a rate that corrupts more than it asks for. `data/models/masking-trunks/` holds
the weights of all runs as float16 and a record; a run that is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import dataclass, replace
from datetime import date
from functools import cache

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from labs.book.machine import versions
from labs.model.transformer import GPT
from labs.text.tokenizers import BPETokenizer
from labs.train import trunks
from labs.train.objectives import IGNORE, mask_tokens
from labs.train.pretrained import MODELS, ModelError, sha256
from labs.train.training import Trainer, sample_windows

FOLDER = MODELS / "masking-trunks"
WEIGHTS, RECORD = "weights.safetensors", "record.json"
EXACT, STRIDE = 10, 50  # so many first losses are kept, and the mean of every STRIDE steps
RATE, BERT = 0.15, (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class Masking:
    """A recipe. `shares`: of the selected, those shown as mask, as a random token, as they are.

    `asked`: the rate of positions with a loss, at most `rate`; None asks for all selected ones.
    """

    rate: float = RATE
    shares: tuple[float, float, float] = BERT
    asked: float | None = None

    @property
    def name(self) -> str:
        words = "/".join(f"{100 * share:.0f}" for share in self.shares)
        ask = "" if self.asked is None else f", asked {100 * self.asked:g}"
        return f"rate {100 * self.rate:g}, {words}{ask}"


REFERENCE = Masking()
RECIPES = tuple(Masking(shares=x) for x in ((1.0, 0.0, 0.0), (0.8, 0.0, 0.2), (0.8, 0.2, 0.0)))
RATES = tuple(Masking(rate) for rate in (0.05, 0.4, 0.8))
DECOUPLED = (Masking(0.4, asked=RATE),)


@cache
def shared() -> tuple[trunks.Settings, BPETokenizer]:
    """Settings and tokenizer of `labs.train.trunks`."""
    return trunks.settings(), BPETokenizer.load(trunks.FOLDER / "tokenizer.json")


def planned_runs() -> list[tuple[Masking, int]]:
    """Every recipe with every seed, without the reference."""
    return [(m, s) for m in (*RECIPES, *RATES, *DECOUPLED) for s in shared()[0].seeds]


def states(model: GPT, ids: Tensor) -> Tensor:
    """The last states (B, T, d_model), what the head of a GPT reads."""
    x = model.drop(model.embedding(ids))
    for block in model.blocks:
        x = block(x)
    return model.norm(x)


def corrupt(ids: Tensor, recipe: Masking, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`mask_tokens` with a recipe and the trunks' tokenizer; drops targets that are not asked."""
    tokenizer = shared()[1]
    inputs, targets = mask_tokens(
        ids,
        mask_id=tokenizer.special[trunks.MASK],
        vocab_size=tokenizer.vocab_size,
        special_ids=tuple(tokenizer.special.values()),
        generator=generator,
        rate=recipe.rate,
        shares=recipe.shares,
    )
    if recipe.asked is not None:
        kept = torch.rand(ids.shape, generator=generator) < recipe.asked / recipe.rate
        targets = torch.where(kept, targets, IGNORE)
    return inputs, targets


class MaskingTrainer(Trainer):
    """The trunks' loop; logits are computed at the positions with a loss only."""

    def __init__(self, recipe: Masking, seed: int, tokens: Tensor):
        settings = shared()[0]
        model = trunks.untrained("masked", seed, settings.config)
        super().__init__(model, tokens, replace(settings.recipe, seed=seed))
        self.masking = recipe

    def batch_loss(self) -> Tensor:
        recipe = self.recipe
        windows = sample_windows(
            self.tokens, recipe.batch_size, recipe.context_length, self.generator
        )
        inputs, targets = corrupt(windows[:, :-1], self.masking, self.generator)
        at = (targets != IGNORE).to(self.device)
        logits = self.model.head(states(self.model, inputs.to(self.device))[at])
        return F.cross_entropy(logits, targets.to(self.device)[at])


def run_key(recipe: Masking, seed: int) -> str:
    return f"{recipe.name}, seed {seed}"


def stored_record() -> dict:
    """What is known of each stored run, by `run_key`: first losses, means, seconds, machine."""
    path = FOLDER / RECORD
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"runs": {}}


def load_runs() -> dict[tuple[Masking, int], GPT]:
    """All runs and the reference, for evaluation. ModelError when one is missing or damaged."""
    record, weights = stored_record(), FOLDER / WEIGHTS
    if not weights.exists() or sha256(weights) != record.get("sha256"):
        raise ModelError("data/models/masking-trunks is damaged: restore it from git.")
    tensors, models = load_file(weights), {}
    for recipe, seed in planned_runs():
        start = run_key(recipe, seed) + "/"
        state = {
            k.removeprefix(start): v.float() for k, v in tensors.items() if k.startswith(start)
        }
        model = trunks.untrained("masked", seed, shared()[0].config)
        missing = model.load_state_dict(state, strict=False).missing_keys
        if missing != ["head.weight"]:  # tied: the embedding again
            raise ModelError(f"data/models/masking-trunks lacks '{run_key(recipe, seed)}'.")
        models[recipe, seed] = model.eval()
    reference = trunks.load().models
    return models | {(REFERENCE, s): reference["masked", s] for s in shared()[0].seeds}


def store_run(recipe: Masking, seed: int, trainer: Trainer, seconds: float) -> None:
    """Add a finished run to weights and record; the record, with the checksum, comes last."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    record, path, key = stored_record(), FOLDER / WEIGHTS, run_key(recipe, seed)
    tensors = load_file(path) if path.exists() else {}
    state = trainer.model.state_dict()
    del state["head.weight"]
    save_file(tensors | {f"{key}/{k}": v.half().cpu() for k, v in state.items()}, path)
    losses = torch.tensor(trainer.losses)
    record["runs"][key] = {
        "first_losses": [round(x, 6) for x in losses[:EXACT].tolist()],
        "means": [round(x, 4) for x in losses.view(-1, STRIDE).mean(1).tolist()],
        "seconds": round(seconds),
        "date": date.today().isoformat(),
        "machine": versions(),
    }
    record["sha256"] = sha256(path)
    partial = (FOLDER / RECORD).with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, FOLDER / RECORD)


def main() -> None:
    """Make the runs that are not stored, one after the other."""
    parser = argparse.ArgumentParser(description="Train what data/models/masking-trunks lacks.")
    parser.add_argument(
        "--at-most", type=float, default=math.inf, help="minutes after which no run is started"
    )
    begin, minutes = time.perf_counter(), parser.parse_args().at_most
    tokens = trunks.encode_plain(shared()[1], "train")
    for recipe, seed in planned_runs():
        start = time.perf_counter()
        known = stored_record()["runs"]
        if run_key(recipe, seed) in known or start - begin > 60 * minutes:
            continue
        trainer = MaskingTrainer(recipe, seed, tokens)
        losses = trainer.run()
        store_run(recipe, seed, trainer, time.perf_counter() - start)
        mean = sum(losses[-STRIDE:]) / STRIDE
        print(f"{run_key(recipe, seed)}: {mean:.3f} nats per target", flush=True)


if __name__ == "__main__":
    main()
