"""NSP's inputs, its head and its two arms, and what the stored measurements hold."""

import random

import numpy as np
import pytest
import torch

from labs.model import span_vectors
from labs.model.bert import BertConfig, BertForPretraining
from labs.text.pairs import KINDS, Pair, Span, documents, follows
from labs.text.wordpiece import SPECIAL, WordPieceTokenizer
from labs.train import coherence, pair_head
from labs.train import next_sentence as nsp

TOKENIZER = WordPieceTokenizer([*SPECIAL, "to", "be", "or", "not"])
PAIRS = [
    Pair(Span("w", 0, "to be"), Span("w", 1, "or not to be"), True),
    Pair(Span("w", 0, "or"), Span("v", 4, "not"), False),
]


def names(ids):
    return [[TOKENIZER.vocab[i] for i in row] for row in ids]


def test_pairs_are_framed_as_in_bert():
    ids, types = pair_head.framed_pairs(PAIRS, TOKENIZER)
    assert names(ids)[0] == ["[CLS]", "to", "be", "[SEP]", "or", "not", "to", "be", "[SEP]"]
    assert names(ids)[1] == ["[CLS]", "or", "[SEP]", "not", "[SEP]"] + ["[PAD]"] * 4
    assert types.tolist() == [[0] * 4 + [1] * 5, [0] * 3 + [1] * 2 + [0] * 4]


def test_long_spans_are_cut_away_from_their_border():
    ids, _ = pair_head.framed_pairs(PAIRS[:1], TOKENIZER, longest=1)
    assert names(ids)[0] == ["[CLS]", "be", "[SEP]", "or", "[SEP]"]


def test_the_head_sees_the_order_of_segments_and_no_padding():
    torch.manual_seed(0)
    config = BertConfig(TOKENIZER.vocab_size, 32, 2, 2, 16, dropout=0.0, pre_norm=True, rope=True)
    model, head = BertForPretraining(config).eval(), pair_head.PairHead(16)
    together = pair_head.encode_pairs(
        model, head, *pair_head.framed_pairs(PAIRS, TOKENIZER), TOKENIZER.pad
    )[1]
    alone = pair_head.encode_pairs(
        model, head, *pair_head.framed_pairs(PAIRS[1:], TOKENIZER), TOKENIZER.pad
    )
    torch.testing.assert_close(together[1:], alone[1], atol=1e-5, rtol=1e-4)
    x, keep = torch.randn(3, 4, 16), torch.ones(3, 4, dtype=torch.bool)
    types = torch.tensor([[0, 0, 1, 1]] * 3)
    assert (head(x, types, keep) - head(x, 1 - types, keep)).abs().min() > 1e-4


def test_both_arms_of_a_seed_share_their_true_pairs():
    alone, both = (nsp.training_pairs(arm, 3) for arm in nsp.ARMS)
    assert len(alone) == len(both) == nsp.STEPS * nsp.BATCH
    assert all(pair.is_next for pair in alone)
    for one, other in zip(alone, both, strict=True):
        assert one == other if other.is_next else other.first.work != other.second.work
    assert sum(pair.is_next for pair in both) / len(both) == pytest.approx(0.5, abs=0.02)


def test_probes_are_tested_on_text_that_they_were_not_trained_on():
    for task, sizes in nsp.TASKS.items():
        old, new = nsp.probe_windows(task)
        labels = {w.label for w in old}
        assert labels == {w.label for w in new}
        assert (len(old), len(new)) == tuple(n * len(labels) for n in sizes)
        assert not {(w.work, w.start) for w in old} & {(w.work, w.start) for w in new}
        if task != "work":
            assert not {w.work for w in old} & {w.work for w in new}


DOCS = [[Span(work, i, f"to be. or {work}. not!") for i in range(9)] for work in ("a", "b", "c")]


def test_negatives_of_every_kind_come_with_true_pairs():
    found = coherence.drawn(DOCS, 50, 3)
    assert set(found) == {"next", *KINDS}
    assert all(follows(pair) == (kind == "next") for kind, part in found.items() for pair in part)
    assert found["swapped"] == [Pair(p.second, p.first, False) for p in found["next"]]


def test_shuffling_moves_sentences_of_the_second_span_only():
    pair, rng = Pair(DOCS[0][0], DOCS[0][1], True), random.Random(0)
    for _ in range(20):
        mixed = coherence.shuffled(pair, rng)
        assert mixed.first == pair.first and mixed.second.text != pair.second.text
        assert sorted(mixed.second.text.split()) == sorted(pair.second.text.split())
    assert coherence.can_be_shuffled(pair, TOKENIZER)
    one = Pair(pair.first, Span("a", 1, "to be. to be."), True)
    assert not coherence.can_be_shuffled(one, TOKENIZER)


def test_hidden_tokens_are_in_the_second_span_and_do_not_depend_on_the_first():
    second = Span("w", 1, " ".join(["to be or not"] * 10))
    pairs = [Pair(Span("w", 0, text), second, True) for text in ("to be", "or")]
    ids, types = pair_head.framed_pairs(pairs, TOKENIZER)
    inputs, targets = coherence.hidden_in_second(ids, types, pairs, TOKENIZER)
    at = targets >= 0
    assert at.any() and not at[types == 0].any()
    assert torch.equal(inputs[~at], ids[~at]) and torch.equal(targets[at], ids[at])
    assert torch.equal(inputs[0][types[0] == 1], inputs[1][types[1] == 1])


def test_a_trained_heads_accuracy_counts_both_labels():
    head = pair_head.PairHead(1)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 0, 0]]))
    up, down = [[1.0, 0, 0]], [[-1.0, 0, 0]]
    parts = {"next": 3 * up + down, "other": 4 * down, "same": 4 * up, "swapped": 2 * up + 2 * down}
    found = coherence.own_accuracy(head, {k: np.array(x, np.float32) for k, x in parts.items()})
    assert found == {"other": 0.875, "same": 0.375, "swapped": 0.625}


def test_the_stored_vectors_are_those_of_the_spans():
    vectors, docs = span_vectors.load(), documents(per_work=span_vectors.PER_WORK)
    assert {doc[0].work: len(doc) for doc in docs} == {k: len(x) for k, x in vectors.items()}
    lengths = torch.cat([x.norm(dim=1) for x in vectors.values()])
    torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=2e-3, rtol=0)


def test_the_stored_comparison_is_whole():
    stored = nsp.load()
    found = [(run["arm"], run["seed"]) for run in stored]
    assert found == [(arm, seed) for seed in nsp.SEEDS for arm in nsp.ARMS]
    for run in stored:
        assert 20 * len(run["curve"]) == nsp.STEPS and len(run["first_losses"]) == 5
        assert set(run["probes"]) == set(nsp.TASKS)
        assert ("next" in run) == (run["arm"] != "MLM")
        assert set(run["new_heads"]) == set(KINDS)
        assert 0 < run["ordered_above_shuffled"] < 1 and abs(run["context_gain"]) < 1
        assert run["machine"] and run["date"] and run["seconds"] > 0
