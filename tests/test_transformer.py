"""The model: parts against torch.nn, published parameter counts, causality, cached decoding."""

import pytest
import torch
from torch import nn

from labs.model.attention import document_mask, padding_mask
from labs.model.layers import GeluMLP, LayerNorm, RMSNorm, SwiGLU
from labs.model.transformer import GPT, Config, count_parameters
from tests.torch_layers import copy_block

TINY = Config(vocab_size=50, context_length=16, n_layers=2, n_heads=4, d_model=32)
VARIANTS = {
    "llama": {},
    "gpt2": {"norm": "layernorm", "positions": "learned", "mlp": "gelu", "bias": True},
    "alibi": {"positions": "alibi"},
    "multi-query": {"n_kv_heads": 1},
    "grouped": {"n_kv_heads": 2, "tied": False},
}


def tiny(**changes):
    torch.manual_seed(0)
    return GPT(Config(**{**TINY.to_dict(), **changes})).eval()


@pytest.fixture(params=VARIANTS, ids=str)
def model(request):
    return tiny(**VARIANTS[request.param])


def test_published_parameter_counts():
    gpt2 = Config(
        50257, 1024, 12, 12, 768, norm="layernorm", positions="learned", mlp="gelu", bias=True
    )
    llama = Config(128256, 8192, 32, 32, 4096, n_kv_heads=8, d_ff=14336, tied=False)
    with torch.device("meta"):
        assert count_parameters(GPT(gpt2)) == 124_439_808
        assert count_parameters(GPT(llama)) == 8_030_261_248


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_norms_equal_torch(dtype):
    torch.manual_seed(0)
    x = (3 * torch.randn(4, 7, 24) + 1).to(dtype)
    tolerance = 3e-2 if dtype == torch.bfloat16 else 1e-5
    for ours, theirs in (
        (LayerNorm(24), nn.LayerNorm(24)),
        (RMSNorm(24), nn.RMSNorm(24, eps=1e-6)),
    ):
        nn.init.normal_(ours.weight)
        theirs.load_state_dict(ours.state_dict())
        ours, theirs = ours.to(dtype), theirs.to(dtype)
        torch.testing.assert_close(ours(x), theirs(x), atol=tolerance, rtol=tolerance)


def test_mlps():
    torch.manual_seed(0)
    x, gelu, swiglu = torch.randn(5, 8), GeluMLP(8, 32), SwiGLU(8, 24)
    reference = nn.Sequential(gelu.up, nn.GELU(), gelu.down)
    torch.testing.assert_close(gelu(x), reference(x))
    gated = nn.functional.silu(x @ swiglu.gate.weight.T) * (x @ swiglu.up.weight.T)
    torch.testing.assert_close(swiglu(x), gated @ swiglu.down.weight.T)


def test_block_equals_torch_encoder_layer():
    """A GPT-2 block is nn.TransformerEncoderLayer(norm_first, gelu) with a causal mask."""
    model = tiny(**VARIANTS["gpt2"])
    block = model.blocks[0]
    theirs = nn.TransformerEncoderLayer(
        32, 4, 128, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).eval()
    copy_block(block, theirs)
    x = torch.randn(2, 9, 32)
    causal = nn.Transformer.generate_square_subsequent_mask(9)
    torch.testing.assert_close(block(x), theirs(x, src_mask=causal), atol=1e-5, rtol=1e-5)


def test_first_loss_is_that_of_a_uniform_guess(model):
    ids = torch.randint(0, 50, (8, 16))
    loss = nn.functional.cross_entropy(model(ids).flatten(0, 1), torch.randint(0, 50, (128,)))
    assert loss.item() == pytest.approx(torch.tensor(50.0).log().item(), rel=0.03)


def test_no_position_sees_its_future(model):
    ids = torch.randint(0, 50, (1, 12))
    changed = ids.clone()
    changed[0, 7] = (ids[0, 7] + 1) % 50
    before, after = model(ids), model(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert (before[:, 7:] - after[:, 7:]).abs().amax(-1).gt(0).all()


def test_without_the_causal_mask_the_future_is_seen():
    model = tiny(causal=False)
    ids = torch.randint(0, 50, (1, 12))
    changed = ids.clone()
    changed[0, 7] = (ids[0, 7] + 1) % 50
    assert (model(ids)[:, :7] - model(changed)[:, :7]).abs().max() > 0


@torch.no_grad()
@pytest.mark.parametrize("chunks", [[1] * 12, [5, 1, 6], [12]])
def test_cached_decoding_equals_the_full_forward(model, chunks):
    ids = torch.randint(0, 50, (2, 12))
    cache, start, pieces = model.new_cache(), 0, []
    for n in chunks:
        pieces.append(model(ids[:, start : start + n], cache=cache))
        start += n
    torch.testing.assert_close(torch.cat(pieces, dim=1), model(ids), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_padding_does_not_change_real_tokens(model):
    ids = torch.randint(0, 50, (1, 10))
    alone = model(ids[:, :6])
    padded = model(ids, mask=padding_mask(torch.tensor([6]), 10))
    torch.testing.assert_close(padded[:, :6], alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_packed_documents_do_not_see_each_other():
    """With RoPE only distances matter, so a packed document is the document alone."""
    model = tiny()
    first, second = torch.randint(0, 50, (1, 6)), torch.randint(0, 50, (1, 5))
    packed = torch.cat([first, second], dim=1)
    documents = torch.tensor([[0] * 6 + [1] * 5])
    out = model(packed, mask=document_mask(documents))
    torch.testing.assert_close(out[:, 6:], model(second), atol=1e-4, rtol=1e-4)
    assert (model(packed)[:, 6:] - model(second)).abs().max() > 1e-3  # without the mask it leaks


@torch.no_grad()
def test_weights_are_collected_layer_by_layer(model):
    weights: list = []
    ids = torch.randint(0, 50, (2, 9))
    out = model(ids, weights=weights)
    assert [tuple(w.shape) for w in weights] == [(2, 4, 9, 9)] * 2
    torch.testing.assert_close(out, model(ids), atol=1e-5, rtol=1e-4)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="positions is 'absolute'"):
        Config(**{**TINY.to_dict(), "positions": "absolute"})
    with pytest.raises(ValueError, match="17 tokens, but positions are learned for 16"):
        tiny(positions="learned")(torch.zeros(1, 17, dtype=torch.long))
