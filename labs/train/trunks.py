"""One trunk, several free labels: `python -m labs.train.trunks` trains the trunks and stores them.

`data/models/objective-trunks/` holds the settings (`trunks.yml`), the tokenizer, the weights of all
runs as float16, the loss curves and a record. A run is an objective and a seed; all runs see the
same number of token positions of the same text, which is plain: lower-case and without line breaks.
Two more are the masked objective on other data: `shuffled` on the same tokens in random order,
`code` on as many tokens of Python.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date

import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from labs.book.files import write_json
from labs.book.machine import device, seed_everything, versions
from labs.model.transformer import GPT, Config
from labs.text import corpus
from labs.text.plays import plain
from labs.text.tokenizers import END_OF_TEXT, BPETokenizer
from labs.train.objectives import Masked, Objective, ObjectiveTrainer, Spans, causal
from labs.train.pretrained import MODELS, ModelError, sha256
from labs.train.training import Recipe

FOLDER = MODELS / "objective-trunks"
MASK = "[MASK]"
SENTINELS = tuple(f"<{letter}>" for letter in "XYZWVUTS")
OBJECTIVES = ("causal", "masked", "spans", "shuffled", "code")
EXACT = 10  # so many first losses are kept one by one, the rest as means of blocks of STRIDE
STRIDE = 50


@dataclass(frozen=True)
class Settings:
    """What all runs share: the trunk's sizes, the recipe (its seed is the run's), the seeds."""

    config: Config
    recipe: Recipe
    seeds: tuple[int, ...]

    @property
    def runs(self) -> list[tuple[str, int]]:
        return [(name, seed) for name in OBJECTIVES for seed in self.seeds]


@dataclass(frozen=True)
class Trunks:
    """The stored runs: models in evaluation mode, mean losses of every STRIDE steps, the record."""

    settings: Settings
    tokenizer: BPETokenizer
    models: dict[tuple[str, int], GPT]
    losses: dict[tuple[str, int], list[float]]
    record: dict


def settings() -> Settings:
    read = yaml.safe_load((FOLDER / "trunks.yml").read_text(encoding="utf-8"))
    config = Config(**read["model"])
    recipe = Recipe(context_length=config.context_length, **read["recipe"])
    return Settings(config, recipe, tuple(read["seeds"]))


def make_tokenizer(vocab_size: int) -> BPETokenizer:
    """BPE of the plain training text, with a mask and sentinels at the end of the vocabulary."""
    texts = [plain(work.text).encode() for work in corpus.split("train")]
    return BPETokenizer.train(texts, vocab_size, [END_OF_TEXT, MASK, *SENTINELS])


def encode_plain(tokenizer: BPETokenizer, split: str) -> Tensor:
    """Ids (N,) of all works of a split as plain text, each after an end-of-text token."""
    return _encode(tokenizer, corpus.split(split))


def encode_code(tokenizer: BPETokenizer, length: int) -> Tensor:
    """Ids (length,) of Python modules, made plain as the plays are; ValueError: too few."""
    ids = _encode(tokenizer, corpus.python_code())
    if len(ids) < length:
        raise ValueError(f"The modules have {len(ids)} tokens, not {length}.")
    return ids[:length]


def _encode(tokenizer: BPETokenizer, works: Iterable[corpus.Document]) -> Tensor:
    end = tokenizer.special[END_OF_TEXT]
    return torch.tensor([i for w in works for i in [end, *tokenizer.encode(plain(w.text))]])


def objective(name: str, tokenizer: BPETokenizer) -> Objective:
    """The objective of a run. Raises ValueError for an unknown name."""
    if name not in OBJECTIVES:
        raise ValueError(f"No objective '{name}': take one of {', '.join(OBJECTIVES)}.")
    if name == "causal":
        return causal
    if name == "spans":
        return Spans(tuple(tokenizer.special[s] for s in SENTINELS))
    special = tuple(tokenizer.special.values())
    return Masked(tokenizer.special[MASK], tokenizer.vocab_size, special)


def untrained(name: str, seed: int, config: Config) -> GPT:
    """The trunk before its first step; only `causal` runs see nothing to the right."""
    seed_everything(seed)
    return GPT(replace(config, causal=name == "causal")).to(device())


def make_trainer(
    name: str, seed: int, tokens: Tensor, tokenizer: BPETokenizer, shared: Settings
) -> ObjectiveTrainer:
    """A run at its first step; `tokens` are those of the plays."""
    if name == "code":
        tokens = encode_code(tokenizer, len(tokens))
    if name == "shuffled":
        tokens = tokens[torch.randperm(len(tokens), generator=torch.Generator().manual_seed(seed))]
    model = untrained(name, seed, shared.config)
    recipe = replace(shared.recipe, seed=seed)
    return ObjectiveTrainer(model, tokens, recipe, objective(name, tokenizer))


def key(name: str, seed: int) -> str:
    return f"{name}/{seed}"


def load() -> Trunks:
    """All stored runs. Raises ModelError when a file is missing or damaged."""
    shared = settings()
    try:
        record = json.loads((FOLDER / "record.json").read_text(encoding="utf-8"))
        damaged = [f for f, expected in record["sha256"].items() if sha256(FOLDER / f) != expected]
    except FileNotFoundError as error:
        raise ModelError(f"{error.filename} is missing: restore it from git.") from None
    if damaged:
        raise ModelError(f"data/models/objective-trunks/{damaged[0]} is damaged: restore it.")
    weights, models = load_file(FOLDER / "weights.safetensors"), {}
    for name, seed in shared.runs:
        start = key(name, seed) + "/"
        state = {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
        model = untrained(name, seed, shared.config)
        model.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
        models[name, seed] = model.eval()
    with (FOLDER / "losses.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    losses = {run: [float(row[key(*run)]) for row in rows] for run in shared.runs}
    tokenizer = BPETokenizer.load(FOLDER / "tokenizer.json")
    return Trunks(shared, tokenizer, models, losses, record)


def train() -> None:
    """Train all runs anew and store them; the record comes last."""
    shared = settings()
    tokenizer = make_tokenizer(shared.config.vocab_size)
    tokens = encode_plain(tokenizer, "train")
    weights, means, first, start = {}, {}, {}, time.perf_counter()
    for name, seed in shared.runs:
        run = make_trainer(name, seed, tokens, tokenizer, shared)
        losses = torch.tensor(run.run())
        first[key(name, seed)] = [round(loss, 6) for loss in losses[:EXACT].tolist()]
        means[key(name, seed)] = losses.view(-1, STRIDE).mean(1).tolist()
        state = run.model.state_dict()
        del state["head.weight"]  # tied: the embedding again
        weights |= {f"{key(name, seed)}/{k}": v.half().cpu() for k, v in state.items()}
        print(f"{name} {seed}: {means[key(name, seed)][-1]:.3f} nats per target", flush=True)
    save_file(weights, FOLDER / "weights.safetensors")
    tokenizer.save(FOLDER / "tokenizer.json")
    with (FOLDER / "losses.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["step", *means])
        for i, row in enumerate(zip(*means.values(), strict=True)):
            rows.writerow([i * STRIDE, *(f"{loss:.4f}" for loss in row)])
    _write_record(shared, first, time.perf_counter() - start)


def _write_record(shared: Settings, first: dict[str, list[float]], seconds: float) -> None:
    recipe = shared.recipe
    record = {
        "date": date.today().isoformat(),
        "machine": versions(),
        "seconds": round(seconds),
        "positions_per_run": recipe.steps * recipe.batch_size * recipe.context_length,
        "first_losses": first,
        "sha256": {
            file: sha256(FOLDER / file)
            for file in ("weights.safetensors", "tokenizer.json", "losses.csv")
        },
    }
    write_json(FOLDER / "record.json", record, indent=1)


if __name__ == "__main__":
    train()
