"""Small models of several families, sizes and budgets, each trained for one pass over its text.

`python -m labs.train.sweep` makes the runs that `data/measurements/sweep.json` lacks, one after
the other, and stores each as soon as it is done. A chapter repeats the smallest of them live.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache

import torch
from torch import Tensor, nn

from labs.book.machine import device, versions
from labs.model.recurrent import GRUModel
from labs.model.transformer import GPT, Config, count_parameters
from labs.text.corpus import DATA
from labs.text.tokenizers import BPETokenizer
from labs.train.one_pass import OnePass
from labs.train.pretrained import encode_split
from labs.train.training import Loss, Recipe, Trainer, evaluate

RESULTS = DATA / "measurements" / "sweep.json"
TOKENIZER = DATA / "models" / "shakespeare-gpt" / "tokenizer.json"
CONTEXT, BATCH, HEAD = 64, 4, 16
HELD_OUT = 12_000  # tokens, from the beginning of the validation works
SEEDS = (0, 1, 2)
BUDGETS = (8_192, 32_768, 131_072, 524_288)  # tokens; the training works have 1.97 million
WIDTHS = (16, 32, 48, 64, 128)
DEPTHS = (0, 1, 2, 4)


@dataclass(frozen=True)
class Run:
    """What decides a run: family (`gpt` or `gru`), width, layers, training tokens and seed."""

    family: str
    width: int
    layers: int
    tokens: int
    seed: int


def planned_runs() -> list[Run]:
    """Two families over all budgets; GPTs of all widths and depths at the largest."""
    runs = [
        Run(family, 48, layers, tokens, seed)
        for tokens in BUDGETS
        for family, layers in (("gpt", 2), ("gru", 1))
        for seed in SEEDS
    ]
    runs += [Run("gpt", width, 2, BUDGETS[-1], seed) for width in WIDTHS for seed in SEEDS]
    runs += [Run("gpt", 48, layers, BUDGETS[-1], seed) for layers in DEPTHS for seed in SEEDS]
    return sorted(
        set(runs), key=lambda run: (run.tokens, run.family, run.width, run.layers, run.seed)
    )


@cache
def shared_tokenizer() -> BPETokenizer:
    return BPETokenizer.load(TOKENIZER)


@cache
def split_ids(split: str) -> Tensor:
    """The ids of a split, (N,) int64."""
    return encode_split(shared_tokenizer(), split)[0]


def held_out_passage() -> tuple[Tensor, int]:
    """The tokens (N,) on which all models are compared, and the bytes of all but the first."""
    ids = split_ids("validation")[:HELD_OUT]
    special = set(shared_tokenizer().special.values())
    return ids, len(
        shared_tokenizer().decode_bytes(i for i in ids[1:].tolist() if i not in special)
    )


def untrained_model(run: Run) -> nn.Module:
    """The untrained model. The GRU's state is chosen so that a GPT of 2 layers has its size.

    GPT-2's initial deviation of 0.02 belongs to width 768; here it grows with 1 / sqrt(width).
    """
    torch.manual_seed(run.seed)
    vocab = shared_tokenizer().vocab_size
    if run.family == "gru":
        model = GRUModel(vocab, run.width, round(2.23 * run.width), run.layers)
    else:
        model = GPT(Config(vocab, CONTEXT, run.layers, max(1, run.width // HEAD), run.width))
        model.init_weights(std=0.02 * (768 / run.width) ** 0.5)
    return model.to(device())


def trainer_of(run: Run) -> Trainer:
    """The run at its first step: AdamW, the peak rate in proportion to 1 / width.

    Adam's best rate falls as 1 / width (Yang et al., Tensor Programs V, 2022, Table 3). The factors
    are the best of short scans, at width 48: 0.005 to 0.02 for GPT, 0.005 to 0.04 for GRU.
    """
    steps = run.tokens // CONTEXT // BATCH
    recipe = Recipe(
        steps=steps,
        batch_size=BATCH,
        context_length=CONTEXT,
        lr=(0.48 if run.family == "gpt" else 1.92) / run.width,
        warmup=max(5, steps // 20),
        min_lr_ratio=0.05,
        seed=run.seed,
    )
    return OnePass(untrained_model(run), split_ids("train")[: run.tokens + 1], recipe)


def held_out_loss(model: nn.Module) -> Loss:
    """Loss on the held-out tokens, each with 32 tokens of context or more, but for the first."""
    return evaluate(model, *held_out_passage(), CONTEXT, stride=CONTEXT // 2)


def make_run(run: Run) -> dict:
    """Train and score one run; the record that is stored."""
    start = time.perf_counter()
    training = trainer_of(run)
    training.run()
    loss = held_out_loss(training.model)
    return {
        **asdict(run),
        "parameters": count_parameters(training.model),
        "nats_per_token": round(loss.nats_per_token, 5),
        "bits_per_byte": round(loss.bits_per_byte, 5),
        "first_losses": [round(x, 5) for x in training.losses[:5]],
        "seconds": round(time.perf_counter() - start, 1),
        "date": date.today().isoformat(),
        "machine": versions(),
    }


def stored_runs() -> dict[Run, dict]:
    """The stored records by run."""
    if not RESULTS.exists():
        return {}
    records = json.loads(RESULTS.read_text(encoding="utf-8"))
    return {Run(*(record[name] for name in Run.__annotations__)): record for record in records}


def main() -> None:
    """Make what is missing; a reader of the file sees only whole runs."""
    records = stored_runs()
    for run in planned_runs():
        if run not in records:
            records[run] = make_run(run)
            lines = ",\n".join(json.dumps(records[r]) for r in planned_runs() if r in records)
            partial = RESULTS.with_suffix(".partial")
            partial.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
            os.replace(partial, RESULTS)
            print(run, f"{records[run]['bits_per_byte']:.4f} bits per byte", flush=True)


if __name__ == "__main__":
    main()
