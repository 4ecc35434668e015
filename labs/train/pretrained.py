"""The small models of `data/models/`: trained by us, kept with everything that made them.

`python -m labs.train.pretrained NAME` trains one again from its `config.yml`; `load(NAME)` reads
it. There are two kinds, `gpt` (next token) and `bert` (masked tokens). A folder holds the
configuration, the tokenizer, the weights, the loss of every step, and a record: machine, seconds,
held-out losses, checksums.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from labs.book.files import write_json
from labs.book.machine import device, seed_everything, versions
from labs.model.bert import BertConfig, BertForPretraining
from labs.model.transformer import GPT, Config
from labs.text import corpus
from labs.text.tokenizers import END_OF_TEXT, BPETokenizer
from labs.text.wordpiece import WordPieceTokenizer
from labs.train.masked import MaskedTrainer, evaluate_masked
from labs.train.training import Recipe, Trainer, evaluate

MODELS = corpus.DATA / "models"


class ModelError(RuntimeError):
    """A stored model is missing or not the one that its record describes."""


Tokenizer = BPETokenizer | WordPieceTokenizer


@dataclass(frozen=True)
class Pretrained:
    """A stored model, ready for use, with the loss curve and the record of its training."""

    model: GPT | BertForPretraining
    tokenizer: Tokenizer
    recipe: Recipe
    losses: list[float]
    record: dict


@dataclass(frozen=True)
class Kind:
    """What differs between the kinds of model; the rest of this module is common to all.

    `trainer` is given the model, the training tokens, the recipe and the tokenizer; `measure` the
    model, held-out tokens, their bytes, the recipe and the tokenizer, and returns named losses.
    """

    config: type
    model: type[nn.Module]
    tokenizer: type
    tokenizer_file: str
    trainer: Callable[..., Trainer]
    measure: Callable[..., dict[str, float]]


def measure_gpt(model: GPT, tokens: Tensor, n_bytes: int, recipe: Recipe, _) -> dict[str, float]:
    loss = evaluate(model, tokens, n_bytes, recipe.context_length)
    return {"nats_per_token": loss.nats_per_token, "bits_per_byte": loss.bits_per_byte}


def measure_bert(
    model: BertForPretraining,
    tokens: Tensor,
    n_bytes: int,
    recipe: Recipe,
    tokenizer: WordPieceTokenizer,
) -> dict[str, float]:
    loss = evaluate_masked(model, tokens, tokenizer, recipe.context_length)
    return {"nats_per_masked_token": loss.nats_per_token, "masked_accuracy": loss.accuracy}


KINDS = {
    "gpt": Kind(
        Config,
        GPT,
        BPETokenizer,
        "tokenizer.json",
        lambda model, tokens, recipe, _: Trainer(model, tokens, recipe),
        measure_gpt,
    ),
    "bert": Kind(
        BertConfig, BertForPretraining, WordPieceTokenizer, "vocab.txt", MaskedTrainer, measure_bert
    ),
}


def kind_of(config: Config | BertConfig) -> Kind:
    return next(kind for kind in KINDS.values() if kind.config is type(config))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_config(name: str) -> tuple[Config | BertConfig, Recipe]:
    """Model and recipe of `data/models/NAME/config.yml`."""
    path = MODELS / name / "config.yml"
    if not path.is_file():
        known = sorted(p.parent.name for p in MODELS.glob("*/config.yml"))
        raise ModelError(f"No model '{name}' in data/models: there are {', '.join(known)}.")
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    recipe = Recipe(context_length=settings["model"]["context_length"], **settings["recipe"])
    return KINDS[settings.get("kind", "gpt")].config(**settings["model"]), recipe


def encode_split(tokenizer: Tokenizer, name: str) -> tuple[Tensor, int]:
    """All works of a split, each after a separator: ids (N,) int64, and their bytes."""
    word_pieces = isinstance(tokenizer, WordPieceTokenizer)
    end = tokenizer.sep if word_pieces else tokenizer.special[END_OF_TEXT]
    works = corpus.split(name)
    ids = [i for work in works for i in [end, *tokenizer.encode(work.text)]]
    return torch.tensor(ids), sum(len(work.data) for work in works)


def build(config: Config | BertConfig, recipe: Recipe) -> GPT | BertForPretraining:
    """The untrained model, seeded: everybody's first step starts from the same numbers."""
    seed_everything(recipe.seed)
    return kind_of(config).model(config).to(device())


def load(name: str) -> Pretrained:
    """A stored model in evaluation mode. Raises ModelError when a file is missing or damaged."""
    folder = MODELS / name
    config, recipe = read_config(name)
    try:
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        for file, expected in record["sha256"].items():
            if sha256(folder / file) != expected:
                raise ModelError(f"data/models/{name}/{file} is damaged: restore it from git.")
    except FileNotFoundError as error:
        raise ModelError(
            f"data/models/{name} has no {Path(error.filename).name}: restore it from git, "
            "or train the model again with `make models`."
        ) from None
    kind = kind_of(config)
    model = kind.model(config)
    model.load_state_dict(load_file(folder / "weights.safetensors"), strict=False)
    model.to(device()).eval()
    with (folder / "losses.csv").open(encoding="utf-8") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    tokenizer = kind.tokenizer.load(folder / kind.tokenizer_file)
    return Pretrained(model, tokenizer, recipe, losses, record)


def train(name: str) -> None:
    """Train `data/models/NAME` from its configuration; an interrupted run resumes where it was."""
    folder = MODELS / name
    config, recipe = read_config(name)
    kind = kind_of(config)
    tokenizer = kind.tokenizer.train([w.data for w in corpus.split("train")], config.vocab_size)
    tokens, _ = encode_split(tokenizer, "train")
    validation, validation_bytes = encode_split(tokenizer, "validation")
    model = build(config, recipe)
    trainer = kind.trainer(model, tokens, recipe, tokenizer)
    checkpoint = folder / "checkpoint" / "last.pt"
    checkpoint.parent.mkdir(exist_ok=True)
    if checkpoint.exists():
        trainer.resume(checkpoint)
    start = time.perf_counter()

    def after_step(trainer: Trainer) -> None:
        if trainer.step % 100 == 0:
            trainer.save(checkpoint)
        if trainer.step % 500 == 0:
            losses = kind.measure(model, validation[:20_000], 1, recipe, tokenizer)
            name, loss = next(iter(losses.items()))
            seconds = time.perf_counter() - start
            print(f"step {trainer.step}: {name} {loss:.4f} held out, {seconds:.0f} s", flush=True)

    trainer.run(after_step=after_step)
    seconds = time.perf_counter() - start
    test, test_bytes = encode_split(tokenizer, "test")
    held_out = {
        "validation": kind.measure(model, validation, validation_bytes, recipe, tokenizer),
        "test": kind.measure(model, test, test_bytes, recipe, tokenizer),
    }
    write(folder, trainer, tokenizer, seconds, held_out)


def write(
    folder: Path,
    trainer: Trainer,
    tokenizer: Tokenizer,
    seconds: float,
    held_out: dict[str, dict[str, float]],
) -> None:
    """Store a trained model; the record comes last, so that a half-written folder never loads."""
    kind = kind_of(trainer.model.config)
    # `named_parameters` names a tied weight once, under its first name.
    state = {k: p.detach().cpu().contiguous() for k, p in trainer.model.named_parameters()}
    save_file(state, folder / "weights.safetensors")
    tokenizer.save(folder / kind.tokenizer_file)
    with (folder / "losses.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["step", "loss"])
        rows.writerows((step, f"{loss:.6f}") for step, loss in enumerate(trainer.losses))
    record = {
        "date": date.today().isoformat(),
        "machine": versions(),
        "seconds_of_last_run": round(seconds),
        "tokens_seen": trainer.step * trainer.recipe.batch_size * trainer.recipe.context_length,
        "held_out": held_out,
        "sha256": {
            file: sha256(folder / file)
            for file in ("weights.safetensors", kind.tokenizer_file, "losses.csv")
        },
    }
    write_json(folder / "record.json", record, indent=2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a model of data/models again.")
    parser.add_argument("name", help="a folder of data/models, for example shakespeare-gpt")
    train(parser.parse_args().name)
