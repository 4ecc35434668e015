"""Attention equals torch over random shapes, masks and dtypes; its parts do what they say."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from labs.model.attention import (
    Attention,
    LayerCache,
    attention,
    causal_mask,
    document_mask,
    padding_mask,
)
from labs.model.positions import alibi_bias, alibi_slopes, apply_rope, rope_angles

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 3e-2}
DTYPES = st.sampled_from(list(TOLERANCE))
shapes = st.tuples(*(st.integers(1, n) for n in (3, 4, 9, 11)), st.sampled_from([2, 4, 8]))


def random_qkv(shape, dtype, seed=0):
    b, h, t_q, t_k, d = shape
    generator = torch.Generator().manual_seed(seed)
    sizes = ((b, h, t_q, d), (b, h, t_k, d), (b, h, t_k, d))
    return [torch.randn(size, generator=generator).to(dtype) for size in sizes]


@settings(max_examples=60, deadline=None)
@given(shapes, DTYPES, st.sampled_from(["none", "causal", "random", "bias"]), st.integers(0, 99))
def test_attention_equals_torch(shape, dtype, kind, seed):
    q, k, v = random_qkv(shape, dtype, seed)
    t_q, t_k = shape[2], shape[3]
    generator = torch.Generator().manual_seed(seed + 1)
    mask = None
    if kind == "causal":
        mask = causal_mask(t_q, t_k) if t_q <= t_k else None
    if kind == "random":
        mask = torch.rand(t_q, t_k, generator=generator) > 0.5
        mask[:, 0] = True  # a row without any key is tested on its own
    if kind == "bias":
        mask = torch.randn(t_q, t_k, generator=generator).to(dtype)
    ours, weights = attention(q, k, v, mask)
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(ours, theirs, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])
    ones = torch.ones(weights.shape[:-1], dtype=dtype)
    torch.testing.assert_close(weights.sum(-1), ones, atol=TOLERANCE[dtype], rtol=0)


def test_the_scale_matters():
    q, k, v = random_qkv((2, 2, 6, 6, 8), torch.float32)
    unscaled, _ = attention(q, k, v, scale=1.0)
    assert (unscaled - F.scaled_dot_product_attention(q, k, v)).abs().max() > 1e-2


def test_a_query_without_keys_gives_zero():
    q, k, v = random_qkv((1, 1, 2, 3, 4), torch.float32)
    mask = torch.tensor([[False, False, False], [True, True, True]])
    out, weights = attention(q, k, v, mask)
    assert out[0, 0, 0].abs().max() == 0 and weights[0, 0, 0].sum() == 0
    assert torch.isfinite(out).all()


def test_masks():
    assert causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True] * 3]
    assert causal_mask(1, 4).all()  # one new token of a cached text sees everything
    padding = padding_mask(torch.tensor([2, 3]), 3)
    assert padding.shape == (2, 1, 1, 3)
    assert padding[:, 0, 0].tolist() == [[True, True, False], [True, True, True]]
    documents = document_mask(torch.tensor([[0, 0, 1]]))
    assert documents[0, 0].tolist() == [
        [True, True, False],
        [True, True, False],
        [False, False, True],
    ]


@pytest.mark.parametrize("causal", [False, True])
def test_multi_head_equals_torch_module(causal):
    """Our module with nn.MultiheadAttention's weights gives its output, padding included."""
    torch.manual_seed(0)
    d_model, n_heads, t = 24, 3, 7
    ours = Attention(d_model, n_heads, positions="none", causal=causal, bias=True)
    theirs = nn.MultiheadAttention(d_model, n_heads, bias=True, batch_first=True)
    projections = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        for i, projection in enumerate(projections):
            rows = slice(i * d_model, (i + 1) * d_model)
            projection.weight.copy_(theirs.in_proj_weight[rows])
            projection.bias.copy_(torch.randn(d_model))
            theirs.in_proj_bias[rows] = projection.bias
        ours.out.load_state_dict(theirs.out_proj.state_dict())
    x, lengths = torch.randn(2, t, d_model), torch.tensor([t, t - 2])
    weights: list = []
    out = ours(x, padding_mask(lengths, t), weights=weights)
    expected, expected_weights = theirs(
        x,
        x,
        x,
        key_padding_mask=~padding_mask(lengths, t)[:, 0, 0],
        attn_mask=~causal_mask(t) if causal else None,
        average_attn_weights=False,
    )
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(weights[0], expected_weights, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("positions", ["rope", "alibi", "none"])
@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_fused_path_equals_explicit_path(positions, n_kv_heads, masked):
    torch.manual_seed(1)
    layer = Attention(32, 4, n_kv_heads, positions=positions)
    x = torch.randn(2, 9, 32)
    mask = padding_mask(torch.tensor([9, 6]), 9) if masked else None
    torch.testing.assert_close(layer(x, mask), layer(x, mask, weights=[]), atol=1e-5, rtol=1e-5)


def test_grouped_query_attention_is_multi_head_with_repeated_keys():
    torch.manual_seed(2)
    grouped, full = Attention(32, 4, 2), Attention(32, 4)
    with torch.no_grad():
        for name in ("query", "out"):
            getattr(full, name).load_state_dict(getattr(grouped, name).state_dict())
        for name in ("key", "value"):
            heads = getattr(grouped, name).weight.view(2, 8, 32)
            getattr(full, name).weight.copy_(heads.repeat_interleave(2, dim=0).reshape(32, 32))
    x = torch.randn(1, 5, 32)
    torch.testing.assert_close(grouped(x), full(x), atol=1e-6, rtol=1e-5)


def test_cache_bytes_are_those_of_the_tensors():
    layer, cache = Attention(32, 4, 2), LayerCache()
    layer(torch.randn(3, 5, 32), cache=cache)
    assert cache.length == 5
    assert cache.nbytes == 2 * 3 * 2 * 5 * 8 * 4  # k and v, batch, kv heads, tokens, d_head, bytes


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="multiple of n_heads"):
        Attention(30, 4)
    with pytest.raises(ValueError, match="odd"):
        rope_angles(torch.arange(3), 5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 500), st.sampled_from([2, 8, 32]))
def test_rope_scores_depend_on_distance_only(m, n, shift, d):
    torch.manual_seed(d)
    q, k = torch.randn(2, 1, 1, 1, d, dtype=torch.float64)

    def score(i, j):
        i, j = torch.tensor([i]), torch.tensor([j])
        return (apply_rope(q, rope_angles(i, d)) * apply_rope(k, rope_angles(j, d))).sum().item()

    assert score(m, n) == pytest.approx(score(m + shift, n + shift), abs=1e-3)


def test_rope_is_a_rotation_by_the_paper_s_angles():
    x = torch.tensor([[[[1.0, 0.0]]]])  # one pair, θ_0 = 1
    turned = apply_rope(x, rope_angles(torch.tensor([3]), 2))
    torch.testing.assert_close(turned.flatten(), torch.tensor([math.cos(3), math.sin(3)]))
    x = torch.randn(1, 2, 6, 16)
    turned = apply_rope(x, rope_angles(torch.arange(6), 16))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert (turned[:, :, 1:] - x[:, :, 1:]).abs().max() > 0.1


def test_alibi():
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    bias = alibi_bias(2, torch.tensor([2]), torch.arange(3))
    assert bias.shape == (2, 1, 3) and bias[0, 0].tolist() == [-2 / 16, -1 / 16, 0]
