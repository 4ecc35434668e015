"""Pooling ignores padding; fine-tuning learns a rule from examples, and repeats itself."""

import torch

from labs.model.bert import Bert, BertConfig
from labs.model.pooling import padded, sentence_vectors
from labs.text.wordpiece import SPECIAL, WordPieceTokenizer
from labs.train.finetune import Classifier, fine_tune, predict

WORDS = WordPieceTokenizer([*SPECIAL, *"abcdefgh"])
CONFIG = BertConfig(
    vocab_size=13, context_length=12, n_layers=1, n_heads=2, d_model=32, dropout=0.0
)


def tiny(seed=0):
    torch.manual_seed(seed)
    return Bert(CONFIG).eval()


def test_padding():
    ids, mask = padded(WORDS, ["a b c", "d"], longest=4)
    assert ids.tolist() == [
        [WORDS.cls, WORDS.ids["a"], WORDS.ids["b"], WORDS.sep],
        [WORDS.cls, WORDS.ids["d"], WORDS.sep, WORDS.pad],
    ]
    assert mask.shape == (2, 1, 1, 4) and mask[1, 0, 0].tolist() == [True, True, True, False]


def test_sentence_vectors_do_not_depend_on_their_batch():
    model, texts = tiny(), ["a b c d e f", "a", "g h", "b c a"]
    together = sentence_vectors(model, WORDS, texts)
    alone = torch.cat([sentence_vectors(model, WORDS, [text]) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.norm(dim=-1), torch.ones(4))
    ids, _ = padded(WORDS, ["g h"])
    mean = model(ids)[0].mean(0)
    torch.testing.assert_close(together[2], mean / mean.norm(), atol=1e-5, rtol=1e-4)


def test_fine_tuning_learns_and_repeats():
    texts = [f"{x} {y} {z}" for x in "abcd" for y in "efgh" for z in "efgh"]
    labels = [int(text[0] in "ab") for text in texts]
    runs = []
    for _ in range(2):
        model = Classifier(tiny(), 2)
        losses = fine_tune(model, WORDS, texts, labels, epochs=12, batch_size=16, lr=3e-3, seed=1)
        runs.append(losses)
        assert len(losses) == 12 * 4 and losses[-1] < 0.2 < losses[0]
        assert (predict(model, WORDS, texts) == torch.tensor(labels)).float().mean() > 0.95
    assert runs[0][0] == runs[1][0]
