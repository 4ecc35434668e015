"""Masked tokens alone against masked tokens with next sentence prediction, from one stored model.

`python -m labs.train.next_sentence compare` trains `shakespeare-bert` on in both ways, at equal
tokens, and adds each run that is missing to `data/measurements/next_sentence.json`: about two
minutes a run on one core. The comparison is that of Devlin et al. (2019), sec. 5.1, in small.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from datetime import date

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from labs.book.files import write_json
from labs.book.machine import device, progress, seed_everything, versions
from labs.model.bert import BertForPretraining
from labs.model.pooling import sentence_vectors
from labs.text import corpus
from labs.text.labelled import Window, balanced, labelled, split_by_work, split_within
from labs.text.pairs import Pair, documents, make_pairs
from labs.text.wordpiece import WordPieceTokenizer
from labs.train import coherence, pretrained
from labs.train.masked import hide
from labs.train.optim import adamw, warmup_cosine
from labs.train.pair_head import PairHead, encode_pairs, framed_pairs, visible

MEASURED = corpus.DATA / "measurements" / "next_sentence.json"
MODEL, ARMS, SEEDS = "shakespeare-bert", ("MLM", "MLM + NSP"), (0, 1, 2, 3)
STEPS, BATCH, RATE, WARMUP = 600, 16, 1e-3, 50
# Windows of each label for the probe's training and its test; histories are not held out.
TASKS = {"verse": (600, 290), "genre": (600, 600), "work": (40, 18)}


def started(seed: int) -> tuple[BertForPretraining, PairHead, WordPieceTokenizer]:
    """The stored model, a new head, and the tokenizer. Dropout is off.

    The model never saw a second segment: its type starts at the first one's, plus seeded noise.
    """
    stored = pretrained.load(MODEL)
    seed_everything(seed)
    head = PairHead(stored.model.config.d_model)
    kinds = stored.model.bert.embedding.segment.weight
    with torch.no_grad():
        kinds[1] = kinds[0] + 0.02 * torch.randn(kinds.size(1)).to(kinds.device)
    return stored.model, head.to(device()), stored.tokenizer


def training_pairs(arm: str, seed: int) -> list[Pair]:
    """BATCH pairs for each step: true neighbours; with NSP, a coin puts one of kind `other` there.

    So both arms of a seed share about half of their pairs.
    """
    docs, count = documents("train"), STEPS * BATCH
    true = make_pairs(docs, "other", count, seed, share=1.0)
    if arm == "MLM":
        return true
    false, rng = make_pairs(docs, "other", count, seed, share=0.0), random.Random(seed)
    return [pair[rng.randrange(2)] for pair in zip(true, false, strict=True)]


def is_other(pairs: Sequence[Pair]) -> Tensor:
    """Labels (B,): 0 where the second span follows, 1 where it does not."""
    return torch.tensor([int(not p.is_next) for p in pairs], device=device())


def train(
    arm: str, seed: int, first_steps: int = STEPS
) -> tuple[BertForPretraining, PairHead, list[tuple[float, float]]]:
    """One run, or its first steps: model, head, and each step's losses (masked tokens, pairs).

    With NSP the two losses are added with equal weight. Both arms see BATCH pairs a step.
    """
    model, head, tokenizer = started(seed)
    pairs, generator = training_pairs(arm, seed), torch.Generator().manual_seed(seed)
    optimizer, losses = adamw(nn.ModuleList((model, head)), RATE, 0.01), []
    for step in progress(range(first_steps)):
        batch = pairs[step * BATCH : (step + 1) * BATCH]
        ids, types = framed_pairs(batch, tokenizer)
        inputs, targets = (x.to(device()) for x in hide(ids, tokenizer, generator))
        x, logits = encode_pairs(model, head, inputs, types.to(device()), tokenizer.pad)
        at = targets >= 0
        masked = F.cross_entropy(model.masked(x[at]), targets[at])
        paired = F.cross_entropy(logits, is_other(batch))
        loss = masked if arm == "MLM" else masked + paired
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = warmup_cosine(step, steps=STEPS, peak=RATE, warmup=WARMUP)
        optimizer.step()
        losses.append((masked.item(), paired.item()))
    return model.eval(), head, losses


@torch.no_grad()
def masked_loss(
    model: BertForPretraining, tokenizer: WordPieceTokenizer, pairs: Sequence[Pair]
) -> float:
    """Held-out loss, nats per hidden token; the same tokens are hidden for every model."""
    generator, nats, n = torch.Generator().manual_seed(0), 0.0, 0
    for start in range(0, len(pairs), 64):
        ids, types = framed_pairs(pairs[start : start + 64], tokenizer)
        inputs, targets = hide(ids, tokenizer, generator)
        at = (targets >= 0).to(device())
        inputs, types, targets = (x.to(device()) for x in (inputs, types, targets))
        logits = model(inputs, types, visible(inputs, tokenizer), at)
        nats += F.cross_entropy(logits, targets[at], reduction="sum").item()
        n += int(at.sum())
    return nats / n


def probe_windows(task: str) -> tuple[list[Window], list[Window]]:
    """Labelled windows of a task to train a probe on, and to test it: TASKS has the numbers.

    `verse` and `genre` (comedy or tragedy) are tested on held-out works, `work` on each work's end.
    """
    windows = [w for w in labelled(task) if w.label != "history"]
    old, new = split_within(windows) if task == "work" else split_by_work(windows)
    counts = Counter(w.label for w in new)
    kept = {label for label, n in counts.items() if n >= TASKS[task][1]}
    parts = ([w for w in part if w.label in kept] for part in (old, new))
    old, new = (balanced(part, n, 0) for part, n in zip(parts, TASKS[task], strict=True))
    return old, new


def probe_accuracy(model: BertForPretraining, tokenizer: WordPieceTokenizer, task: str) -> float:
    """Accuracy of logistic regression on the frozen encoder's mean vectors, standardised."""
    parts = probe_windows(task)
    x = [sentence_vectors(model.bert, tokenizer, [w.text for w in p]).numpy() for p in parts]
    y = [[w.label for w in part] for part in parts]
    mean, spread = x[0].mean(0), x[0].std(0)
    x = [(part - mean) / spread for part in x]
    return float(LogisticRegression(C=0.1, max_iter=2000).fit(x[0], y[0]).score(x[1], y[1]))


def make_run(arm: str, seed: int) -> dict:
    """Train and test one run: the record that is stored. The curve has means of 20 steps."""
    start = time.perf_counter()
    model, head, losses = train(arm, seed)
    tokenizer = pretrained.load(MODEL).tokenizer
    held_out = documents("validation") + documents("test")
    run = {"arm": arm, "seed": seed, "first_losses": losses[:5]}
    run["curve"] = np.array(losses).reshape(-1, 20, 2).mean(1).tolist()
    run["masked"] = masked_loss(model, tokenizer, make_pairs(held_out, "other", 1000, 9, share=1.0))
    run["probes"] = {task: probe_accuracy(model, tokenizer, task) for task in TASKS}
    run |= coherence.measure(model, None if arm == "MLM" else head, tokenizer, seed)
    about = {"date": date.today().isoformat(), "machine": versions()}
    return run | about | {"seconds": round(time.perf_counter() - start)}


def load() -> list[dict]:
    """The stored runs, by seed and arm."""
    return json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else []


def store_comparison(seeds: Sequence[int] = SEEDS) -> None:
    """Make the runs of these seeds that are not stored yet; each is stored when it is done."""
    for arm, seed in ((arm, seed) for seed in seeds for arm in ARMS):
        if not any((run["arm"], run["seed"]) == (arm, seed) for run in load()):
            new = make_run(arm, seed)
            runs = sorted([*load(), new], key=lambda run: (run["seed"], run["arm"]))
            write_json(MEASURED, runs, digits=4)
            print({k: v for k, v in new.items() if k != "curve"}, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train both arms from the stored model.")
    parser.add_argument("what", choices=["compare"])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="default: all")
    store_comparison(parser.parse_args().seeds)
