"""Next sentence prediction: a published encoder's vectors, and masked tokens with and without NSP.

`python -m labs.train.next_sentence vectors` writes all-MiniLM-L6-v2's vectors of the first spans of
every work to `data/measurements/span_vectors.safetensors` (float16).
`python -m labs.train.next_sentence compare` trains small BERTs on masked tokens alone and with NSP
at equal tokens and writes `data/measurements/next_sentence.json`. The design is that of Devlin et
al. (2019), sec. 5.1; each takes a few minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from datetime import date

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from labs.book.machine import device, progress, seed_everything, versions
from labs.model.bert import Bert, BertConfig, BertForPretraining
from labs.model.minilm import load_minilm
from labs.text import corpus
from labs.text.labelled import balanced, labelled, split_by_work
from labs.text.pairs import KINDS, Pair, Span, make_pairs, spans
from labs.text.wordpiece import SPECIAL, WordPieceTokenizer
from labs.train.masked import hide
from labs.train.optim import adamw, warmup_cosine

WORDS, PER_WORK, LONGEST = 32, 64, 48  # words of a span, spans of a work, tokens of a span
VECTORS = corpus.DATA / "measurements" / "span_vectors.safetensors"
MEASURED = corpus.DATA / "measurements" / "next_sentence.json"
ARMS, SEEDS = ("MLM", "MLM + NSP"), (0, 1, 2)
STEPS, BATCH, WIDTH, VOCABULARY = 600, 16, 128, 4000
TASK = "verse"


def documents(split: str | None = None, per_work: int | None = PER_WORK) -> list[list[Span]]:
    """The first `per_work` spans (None: all) of each work, of one split or of all."""
    works = corpus.shakespeare() if split is None else corpus.split(split)
    return [list(spans(w.name, WORDS)[:per_work]) for w in works if len(spans(w.name, WORDS)) > 2]


def framed_pairs(pairs: Sequence[Pair], tokenizer: WordPieceTokenizer) -> tuple[Tensor, Tensor]:
    """[CLS] A [SEP] B [SEP], padded: ids and segment types, both (B, T); spans cut to LONGEST."""
    rows = []
    for pair in pairs:
        a, b = (tokenizer.encode(s.text)[:LONGEST] for s in (pair.first, pair.second))
        ids = [tokenizer.cls, *a, tokenizer.sep, *b, tokenizer.sep]
        rows.append((ids, [0] * (len(a) + 2) + [1] * (len(b) + 1)))
    width = max(len(ids) for ids, _ in rows)
    ids = [ids + [tokenizer.pad] * (width - len(ids)) for ids, _ in rows]
    types = [types + [0] * (width - len(types)) for _, types in rows]
    return torch.tensor(ids), torch.tensor(types)


def visible(ids: Tensor, tokenizer: WordPieceTokenizer) -> Tensor:
    """Attention mask (B, 1, 1, T): padding is not looked at."""
    return (ids != tokenizer.pad)[:, None, None]


@torch.no_grad()
def encode_texts(
    model: Bert, tokenizer: WordPieceTokenizer, texts: Sequence[str], batch: int = 64
) -> Tensor:
    """Mean of the last layer over each text's tokens, length 1: (n, d_model) on the CPU."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out = torch.empty(len(texts), model.config.d_model)
    for start in progress(range(0, len(order), batch)):
        rows = order[start : start + batch]
        cut = [tokenizer.encode(texts[i])[: 2 * LONGEST] for i in rows]
        cut = [[tokenizer.cls, *ids, tokenizer.sep] for ids in cut]
        width = max(map(len, cut))
        ids = torch.tensor([row + [tokenizer.pad] * (width - len(row)) for row in cut])
        ids = ids.to(next(model.parameters()).device)
        keep = (ids != tokenizer.pad)[..., None].float()
        x = model(ids, mask=visible(ids, tokenizer))
        out[rows] = F.normalize((x * keep).sum(1) / keep.sum(1), dim=-1).cpu()
    return out


def load_vectors() -> dict[str, Tensor]:
    """The stored vectors: each work's first spans, (≤ PER_WORK, 384) float32."""
    return {name: x.float() for name, x in load_file(VECTORS).items()}


def store_vectors() -> None:
    model, tokenizer = load_minilm()
    docs = documents()
    texts = [span.text for doc in docs for span in doc]
    parts = encode_texts(model, tokenizer, texts).half().split([len(doc) for doc in docs])
    save_file(
        {doc[0].work: part.contiguous() for doc, part in zip(docs, parts, strict=True)}, VECTORS
    )


def small_tokenizer(published: WordPieceTokenizer) -> WordPieceTokenizer:
    """The published vocabulary's pieces that the training spans use most, and all single signs."""
    counts = Counter(
        i for doc in documents("train") for span in doc for i in published.encode(span.text)
    )
    signs = [p for p in published.vocab if len(p.removeprefix("##")) == 1 and p.isascii()]
    often = [published.vocab[i] for i, _ in counts.most_common()]
    return WordPieceTokenizer(list(dict.fromkeys([*SPECIAL, *signs, *often]))[:VOCABULARY])


def untrained(seed: int, tokenizer: WordPieceTokenizer) -> BertForPretraining:
    """A BERT of two layers. Its token vectors start as principal components of MiniLM's."""
    seed_everything(seed)
    config = BertConfig(tokenizer.vocab_size, 2 * LONGEST + 3, 2, 4, WIDTH, dropout=0.0)
    model = BertForPretraining(config)
    published, pieces = load_minilm()
    table = published.embedding.token.weight.detach()[[pieces.ids[p] for p in tokenizer.vocab]]
    centred = table - table.mean(0)
    basis = torch.linalg.svd(centred, full_matrices=False).Vh[:WIDTH]
    start = centred @ basis.T
    with torch.no_grad():
        model.bert.embedding.token.weight.copy_(0.05 * start / start.std())
    return model.to(device())


def train(
    arm: str, seed: int, tokenizer: WordPieceTokenizer, first_steps: int = STEPS
) -> tuple[BertForPretraining, list[tuple[float, float]]]:
    """One run, or its first steps: the model, and each step's losses (masked tokens, pairs).

    MLM alone sees true neighbours only; with NSP, half of the pairs are of kind `other`, and the
    two losses are added with equal weight. Both see BATCH pairs a step.
    """
    model, docs = untrained(seed, tokenizer), documents("train", None)
    share, generator = (1.0 if arm == "MLM" else 0.5), torch.Generator().manual_seed(seed)
    pairs = make_pairs(docs, "other", STEPS * BATCH, seed, share)
    optimizer, losses = adamw(model, 1e-3, 0.01), []
    for step in progress(range(first_steps)):
        batch = pairs[step * BATCH : (step + 1) * BATCH]
        ids, types = framed_pairs(batch, tokenizer)
        inputs, targets = hide(ids, tokenizer, generator)
        inputs, types, targets = (x.to(device()) for x in (inputs, types, targets))
        x = model.bert(inputs, types, visible(inputs, tokenizer))
        at = targets >= 0
        masked = F.cross_entropy(model.masked(x[at]), targets[at])
        labels = torch.tensor([0 if p.is_next else 1 for p in batch], device=x.device)
        paired = F.cross_entropy(model.next(model.bert.pool(x)), labels)
        loss = masked if arm == "MLM" else masked + paired
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = warmup_cosine(step, steps=STEPS, peak=1e-3, warmup=50, min_ratio=0.1)
        optimizer.step()
        losses.append((masked.item(), paired.item()))
    return model.eval(), losses


@torch.no_grad()
def next_accuracy(
    model: BertForPretraining, tokenizer: WordPieceTokenizer, pairs: Sequence[Pair]
) -> float:
    """Share of pairs whose label the NSP head gives: column 0 says that the second follows."""
    right = 0
    for start in range(0, len(pairs), 64):
        ids, types = (x.to(device()) for x in framed_pairs(pairs[start : start + 64], tokenizer))
        logits = model.next_sentence(ids, types, visible(ids, tokenizer)).cpu()
        labels = torch.tensor([0 if p.is_next else 1 for p in pairs[start : start + 64]])
        right += (logits.argmax(-1) == labels).sum().item()
    return right / len(pairs)


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


def probe_accuracy(model: BertForPretraining, tokenizer: WordPieceTokenizer) -> float:
    """Verse or prose from the frozen encoder's mean vector: accuracy on held-out works."""
    old, new = split_by_work(labelled(TASK))
    drawn = [balanced(old, 300, 0), balanced(new, 200, 0)]
    x = [encode_texts(model.bert, tokenizer, [w.text for w in part]).numpy() for part in drawn]
    y = [[w.label for w in part] for part in drawn]
    return float(LogisticRegression(C=100, max_iter=2000).fit(x[0], y[0]).score(x[1], y[1]))


def measure() -> dict:
    """Both arms, three seeds."""
    start, runs = time.perf_counter(), []
    tokenizer = small_tokenizer(load_minilm()[1])
    held_out = documents("validation", None) + documents("test", None)
    neighbours = make_pairs(held_out, "other", 256, 9, share=1.0)
    tests = {kind: make_pairs(held_out, kind, 1000, 9) for kind in KINDS}
    for seed in SEEDS:
        for arm in ARMS:
            model, losses = train(arm, seed, tokenizer)
            run = {"arm": arm, "seed": seed, "losses": losses}
            run["masked"] = masked_loss(model, tokenizer, neighbours)
            run["probe"] = probe_accuracy(model, tokenizer)
            run["next"] = {k: next_accuracy(model, tokenizer, p) for k, p in tests.items()}
            runs.append(run)
            print(arm, seed, run["masked"], run["probe"], run["next"], flush=True)
    seconds = round(time.perf_counter() - start)
    about = {"date": date.today().isoformat(), "machine": versions(), "seconds": seconds}
    sizes = {"steps": STEPS, "batch": BATCH, "tested_pairs": 1000, "task": TASK}
    return about | sizes | {"runs": runs}


def load() -> dict:
    """The stored comparison. Raises FileNotFoundError when it was never made."""
    return json.loads(MEASURED.read_text(encoding="utf-8"))


def store_comparison() -> None:
    partial = MEASURED.with_suffix(".partial")
    rounded = json.loads(json.dumps(measure()), parse_float=lambda x: round(float(x), 4))
    partial.write_text(json.dumps(rounded) + "\n", encoding="utf-8")
    os.replace(partial, MEASURED)


if __name__ == "__main__":
    commands = {"vectors": store_vectors, "compare": store_comparison}
    parser = argparse.ArgumentParser(description="Make the stored data of NSP again.")
    parser.add_argument("what", choices=commands)
    commands[parser.parse_args().what]()
