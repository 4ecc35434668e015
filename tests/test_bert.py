"""BERT: published counts, a published encoder's numbers, who sees whom, and the masked loss."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from labs.model.attention import padding_mask
from labs.model.bert import Bert, BertConfig, BertForPretraining
from labs.model.minilm import load_minilm, rename
from labs.model.transformer import count_parameters
from labs.text.wordpiece import SPECIAL, WordPieceTokenizer
from labs.train.masked import MaskedTrainer, evaluate_masked, framed, hide, masked_logits
from labs.train.training import Recipe
from tests.torch_layers import copy_block

TINY = BertConfig(vocab_size=40, context_length=16, n_layers=2, n_heads=4, d_model=32, dropout=0.0)
WORDS = WordPieceTokenizer([*SPECIAL, *(f"w{i}" for i in range(35))])


@pytest.fixture(scope="module")
def minilm():
    return load_minilm()


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return BertForPretraining(TINY).eval()


def test_published_parameter_counts():
    """BERT-base 109,482,240 and BERT-large 335,141,888 with pooler, as the published files hold."""
    large = BertConfig(n_layers=24, n_heads=16, d_model=1024)
    with torch.device("meta"):
        assert count_parameters(Bert(BertConfig())) == 109_482_240
        assert count_parameters(Bert(large)) == 335_141_888
        heads = count_parameters(BertForPretraining(BertConfig())) - 109_482_240
    assert heads == 768 * 768 + 768 + 2 * 768 + 30_522 + 2 * 768 + 2  # the decoder is tied


def test_a_layer_equals_torch_encoder_layer(tiny):
    block = tiny.bert.blocks[0]
    theirs = nn.TransformerEncoderLayer(
        32, 4, 128, dropout=0.0, activation="gelu", batch_first=True, layer_norm_eps=1e-12
    ).eval()
    copy_block(block, theirs)
    x = torch.randn(2, 9, 32)
    torch.testing.assert_close(block(x), theirs(x), atol=1e-5, rtol=1e-5)


def test_names_of_a_published_file():
    assert rename("embeddings.word_embeddings.weight") == "embedding.token.weight"
    assert rename("bert.embeddings.token_type_embeddings.weight") == "embedding.segment.weight"
    layer = "encoder.layer.11."
    assert rename(f"{layer}attention.self.query.bias") == "blocks.11.attention.query.bias"
    assert rename(f"{layer}attention.output.LayerNorm.weight") == "blocks.11.norm1.weight"
    assert rename(f"{layer}output.dense.weight") == "blocks.11.mlp.down.weight"


@torch.no_grad()
def test_the_published_encoder_gives_the_published_numbers(minilm):
    """Made once with transformers 5.24.0 (BertModel, eager attention) and torch 2.13.0+cpu.

    Both are float32: they differ in the order of their sums, by at most 4e-6 when compared.
    """
    model, tokenizer = minilm
    assert count_parameters(model) == 22_713_216
    first = tokenizer.encode("The river bank was steep.")
    ids, types = tokenizer.frame(first, tokenizer.encode("He sat by the water."))
    layers = []
    x = model(torch.tensor([ids]), torch.tensor([types]), layers=layers)
    assert len(layers) == 7 and torch.equal(layers[-1], x)
    expected = {
        0: ([0.49852, 0.39339, -0.46759, 0.23965, 0.74513, -0.33992], 35.7836),
        3: ([0.31762, 0.31875, -0.09769, -0.31218, 0.31795, -0.10668], 42.4768),
        6: ([0.47127, 0.36076, -0.86393, -0.63219, -0.43983, -0.20481], 33.6431),
    }
    for layer, (values, norm) in expected.items():
        assert layers[layer][0, 3, :6].tolist() == pytest.approx(values, abs=3e-5)
        assert layers[layer].norm().item() == pytest.approx(norm, abs=2e-4)
    pooled = [-0.03824, -0.0871, -0.02654, 0.02681, -0.04309, 0.01783]
    assert model.pool(x)[0, :6].tolist() == pytest.approx(pooled, abs=3e-5)
    short = tokenizer.frame(tokenizer.encode("Short."))[0]
    batch = torch.tensor(
        [tokenizer.frame(first)[0], short + [tokenizer.pad] * (len(first) + 2 - len(short))]
    )
    padded = model(batch, mask=padding_mask(torch.tensor([len(first) + 2, 4]), batch.size(1)))
    values = [0.1794, 0.36308, -0.45107, 0.63418, -0.29312, 0.58126]
    assert padded[1, 2, :6].tolist() == pytest.approx(values, abs=3e-5)


def test_every_position_sees_every_other(tiny):
    x = tiny.bert.embedding(torch.randint(5, 40, (1, 8))).detach().requires_grad_()
    for t in range(8):
        (gradient,) = torch.autograd.grad(tiny.bert.encode(x)[0, t].square().sum(), x)
        assert gradient[0].norm(dim=-1).gt(0).all()


def test_the_modern_encoder_sees_all_and_knows_distances_only():
    torch.manual_seed(0)
    modern = Bert(replace(TINY, pre_norm=True, rope=True)).eval()
    assert not any("position" in name for name in modern.state_dict())
    x = modern.embedding(torch.randint(5, 40, (1, 20))).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(modern.encode(x)[0, 3].square().sum(), x)
    assert gradient[0].norm(dim=-1).gt(0).all()
    with torch.no_grad():  # a shifted text, its frame masked off, has the same vectors
        ids = torch.randint(5, 40, (1, 6))
        shifted = torch.cat((torch.zeros(1, 4, dtype=torch.long), ids), 1)
        mask = (torch.arange(10) >= 4)[None, None, None]
        torch.testing.assert_close(
            modern(shifted, mask=mask)[:, 4:], modern(ids), atol=1e-5, rtol=1e-4
        )
        order = modern(ids.flip(1)).flip(1)
    assert not torch.allclose(order, modern(ids), atol=1e-4)


@torch.no_grad()
def test_padding_changes_no_real_position(tiny):
    ids = torch.randint(5, 40, (1, 10))
    padded = tiny.bert(ids, mask=padding_mask(torch.tensor([6]), 10))
    torch.testing.assert_close(padded[:, :6], tiny.bert(ids[:, :6]), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_segments_and_positions_count(tiny):
    ids = torch.full((1, 6), 7)
    x = tiny.bert(ids)
    assert not torch.allclose(x[0, 0], x[0, 5])
    assert not torch.allclose(x, tiny.bert(ids, torch.ones_like(ids)))
    with pytest.raises(ValueError, match="17 tokens, but positions are learned for 16"):
        tiny.bert(torch.zeros(1, 17, dtype=torch.long))


def test_heads(tiny):
    ids = torch.randint(5, 40, (2, 8))
    at = torch.zeros(2, 8, dtype=torch.bool)
    at[0, 3] = at[1, 5] = True
    logits = tiny(ids)
    assert logits.shape == (2, 8, 40) and tiny.next_sentence(ids).shape == (2, 2)
    torch.testing.assert_close(tiny(ids, at=at), logits[at])
    assert tiny.masked.decoder is tiny.bert.embedding.token.weight
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), torch.randint(0, 40, (16,)))
    assert loss.item() == pytest.approx(math.log(40), rel=0.05)


def test_only_hidden_positions_are_predicted(tiny):
    windows = torch.randint(5, 40, (4, 14))
    ids = framed(windows, WORDS)
    assert ids.shape == (4, 16) and torch.equal(ids[:, 1:-1], windows)
    assert (ids[:, 0] == WORDS.cls).all() and (ids[:, -1] == WORDS.sep).all()
    inputs, targets = hide(ids, WORDS, torch.Generator().manual_seed(0))
    logits, wanted = masked_logits(tiny, inputs, targets)
    assert len(logits) == len(wanted) == (targets != -100).sum() > 0
    torch.testing.assert_close(logits, tiny(inputs)[targets != -100])


def test_masked_training_learns_what_only_both_sides_tell():
    """Rows of w5 w5 w5 … or w6 w6 w6 …: a hidden token is what the others are."""
    torch.manual_seed(0)
    tokens = torch.randint(5, 7, (200,)).repeat_interleave(40)
    model = BertForPretraining(TINY)
    trainer = MaskedTrainer(model, tokens, Recipe(150, 8, 16, lr=3e-3, warmup=10), WORDS)
    losses = trainer.run()
    assert losses[0] == pytest.approx(math.log(40), rel=0.1)
    after = evaluate_masked(model, tokens, WORDS, 16)
    assert after.nats_per_token < 0.5 and after.accuracy > 0.85
    again = evaluate_masked(model, tokens, WORDS, 16)
    assert again == after  # the same positions are hidden each time
