"""What encoders, trained with next sentence prediction or without, know of two spans.

Their weights are frozen. Each encoder gets new heads, so one trained without NSP answers the same
questions. Pairs differ from seed to seed and not between the arms, so the spread of a difference
over seeds covers both.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from labs.book.machine import device
from labs.model.bert import BertForPretraining
from labs.text.pairs import KINDS, Pair, Span, documents, make_pairs, split_sentences
from labs.text.wordpiece import WordPieceTokenizer
from labs.train.masked import hide
from labs.train.objectives import IGNORE
from labs.train.pair_head import LONGEST, PairHead, framed_pairs, segment_features, visible

TRAIN, TEST, BATCH = 2000, 1000, 64  # true pairs, and as many negatives of each kind


def drawn(docs: Sequence[Sequence[Span]], count: int, seed: int) -> dict[str, list[Pair]]:
    """True pairs ("next") and negatives of each kind; the swapped ones are the true ones."""
    found = {"next": make_pairs(docs, "swapped", count, seed, share=1.0)}
    return found | {kind: make_pairs(docs, kind, count, seed, share=0.0) for kind in KINDS}


@torch.no_grad()
def joint_features(
    model: BertForPretraining, tokenizer: WordPieceTokenizer, pairs: Sequence[Pair]
) -> np.ndarray:
    """What the NSP head sees of pairs that the encoder reads together: (n, 3 d_model)."""
    found = []
    for start in range(0, len(pairs), BATCH):
        ids, types = framed_pairs(pairs[start : start + BATCH], tokenizer)
        ids, types = ids.to(device()), types.to(device())
        x = model.bert(ids, types, visible(ids, tokenizer))
        found.append(segment_features(x, types, ids != tokenizer.pad).cpu().numpy())
    return np.concatenate(found)


def with_labels(found: dict[str, np.ndarray], kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Features of true pairs and of one kind of negatives, and whether the second span follows."""
    x = np.concatenate((found["next"], found[kind]))
    return x, np.arange(len(x)) < len(found["next"])


def new_head() -> Pipeline:
    """Logistic regression on standardised features, for a frozen encoder."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=1000))


@torch.no_grad()
def own_accuracy(head: PairHead, found: dict[str, np.ndarray]) -> dict[str, float]:
    """Accuracy of a trained head by kind, from the features of true pairs and of each kind."""
    logits = {kind: head.linear(torch.tensor(x, device=device())) for kind, x in found.items()}
    says_next = {kind: (z[:, 0] > z[:, 1]).float().mean().item() for kind, z in logits.items()}
    return {kind: (says_next["next"] + 1 - says_next[kind]) / 2 for kind in KINDS}


def shuffled(pair: Pair, rng: random.Random) -> Pair:
    """The pair with the sentences of its second span (two different ones or more) moved."""
    sentences = list(split_sentences(pair.second.text))
    mixed = sentences
    while mixed == sentences:
        mixed = rng.sample(sentences, len(sentences))
    return replace(pair, second=replace(pair.second, text=" ".join(mixed)))


def can_be_shuffled(pair: Pair, tokenizer: WordPieceTokenizer) -> bool:
    """Whether the second span has two different sentences, and no token is cut off."""
    text = pair.second.text
    return len(set(split_sentences(text))) > 1 and len(tokenizer.encode(text)) <= LONGEST


def hidden_in_second(
    ids: torch.Tensor, types: torch.Tensor, pairs: Sequence[Pair], tokenizer: WordPieceTokenizer
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets (B, T), tokens hidden in the second spans only: the same ones for a
    second span, whatever the first one is."""
    inputs, targets = ids.clone(), torch.full_like(ids, IGNORE)
    for row, pair in enumerate(pairs):
        own = types[row] == 1
        generator = torch.Generator().manual_seed(pair.second.index)
        hidden, wanted = hide(ids[row : row + 1, own], tokenizer, generator)
        inputs[row, own], targets[row, own] = hidden[0], wanted[0]
    return inputs, targets


@torch.no_grad()
def second_span_loss(
    model: BertForPretraining, tokenizer: WordPieceTokenizer, pairs: Sequence[Pair]
) -> float:
    """Masked loss in the second spans, nats per hidden token."""
    nats, n = 0.0, 0
    for start in range(0, len(pairs), BATCH):
        batch = pairs[start : start + BATCH]
        ids, types = framed_pairs(batch, tokenizer)
        inputs, targets = hidden_in_second(ids, types, batch, tokenizer)
        inputs, types, targets = (x.to(device()) for x in (inputs, types, targets))
        at = targets != IGNORE
        logits = model(inputs, types, visible(inputs, tokenizer), at)
        nats += F.cross_entropy(logits, targets[at], reduction="sum").item()
        n += int(at.sum())
    return nats / n


def context_gain(
    model: BertForPretraining, tokenizer: WordPieceTokenizer, pairs: Sequence[Pair], seed: int
) -> float:
    """By how many nats per hidden token of B the true A is better than a span of another work."""
    rng = random.Random(seed)
    away = []
    for pair in pairs:
        others = [p.first for p in pairs if p.first.work != pair.first.work]
        away.append(replace(pair, first=rng.choice(others)))
    true, other = (second_span_loss(model, tokenizer, p) for p in (pairs, away))
    return other - true


def measure(
    model: BertForPretraining, head: PairHead | None, tokenizer: WordPieceTokenizer, seed: int
) -> dict:
    """Tests of one encoder on held-out works, as data.

    next: accuracy of its own head by kind (if it has one); new_heads: of a new one for each kind;
    ordered_above_shuffled: how often the new head of kind `other` rates a true pair above the same
    pair with B's sentences shuffled; context_gain: as below.
    """
    held_out = drawn(documents("validation") + documents("test"), TEST, 100 + seed)
    old, new = (
        {kind: joint_features(model, tokenizer, pairs) for kind, pairs in found.items()}
        for found in (drawn(documents("train"), TRAIN, 200 + seed), held_out)
    )
    heads = {kind: new_head().fit(*with_labels(old, kind)) for kind in KINDS}
    found = {} if head is None else {"next": own_accuracy(head, new)}
    pairs = [pair for pair in held_out["next"] if can_be_shuffled(pair, tokenizer)]
    rng = random.Random(seed)
    ordered, mixed = (
        heads["other"].decision_function(joint_features(model, tokenizer, part))
        for part in (pairs, [shuffled(pair, rng) for pair in pairs])
    )
    return found | {
        "new_heads": {kind: heads[kind].score(*with_labels(new, kind)) for kind in KINDS},
        "ordered_above_shuffled": float((ordered > mixed).mean()),
        "context_gain": context_gain(model, tokenizer, held_out["next"], seed),
    }
