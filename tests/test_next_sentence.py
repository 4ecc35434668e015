"""NSP's inputs and evaluation, and what the stored measurements hold."""

import pytest
import torch

from labs.model.bert import Bert, BertConfig
from labs.text.pairs import Pair, Span
from labs.text.wordpiece import SPECIAL, WordPieceTokenizer
from labs.train import next_sentence as nsp

TOKENIZER = WordPieceTokenizer([*SPECIAL, "to", "be", "or", "not"])
PAIRS = [
    Pair(Span("w", 0, "to be"), Span("w", 1, "or not to be"), True),
    Pair(Span("w", 0, "or"), Span("v", 4, "not"), False),
]


def test_pairs_are_framed_as_in_bert():
    ids, types = nsp.framed_pairs(PAIRS, TOKENIZER)
    names = [[TOKENIZER.vocab[i] for i in row] for row in ids]
    assert names[0] == ["[CLS]", "to", "be", "[SEP]", "or", "not", "to", "be", "[SEP]"]
    assert names[1] == ["[CLS]", "or", "[SEP]", "not", "[SEP]"] + ["[PAD]"] * 4
    assert types.tolist() == [[0] * 4 + [1] * 5, [0] * 3 + [1] * 2 + [0] * 4]
    assert nsp.visible(ids, TOKENIZER).sum((1, 2, 3)).tolist() == [9, 5]


def test_a_text_has_the_same_vector_alone_and_in_a_batch():
    torch.manual_seed(0)
    model = Bert(BertConfig(TOKENIZER.vocab_size, 64, 2, 2, 16)).eval()
    texts = ["to be or not", "be", "not to be or to be"]
    together = nsp.encode_texts(model, TOKENIZER, texts)
    alone = torch.cat([nsp.encode_texts(model, TOKENIZER, [text]) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert together.norm(dim=1).tolist() == pytest.approx([1, 1, 1])


def test_the_stored_vectors_are_those_of_the_spans():
    vectors, docs = nsp.load_vectors(), nsp.documents()
    assert {doc[0].work: len(doc) for doc in docs} == {k: len(x) for k, x in vectors.items()}
    lengths = torch.cat([x.norm(dim=1) for x in vectors.values()])
    torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=2e-3, rtol=0)


def test_the_stored_comparison_is_whole():
    stored = nsp.load()
    found = [(run["arm"], run["seed"]) for run in stored["runs"]]
    assert found == [(arm, seed) for seed in nsp.SEEDS for arm in nsp.ARMS]
    for run in stored["runs"]:
        assert len(run["losses"]) == stored["steps"] == nsp.STEPS
        assert set(run["next"]) == {"other", "same", "swapped"}
    assert stored["machine"] and stored["date"] and stored["seconds"] > 0
