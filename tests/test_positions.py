"""Stretched rotary positions against the papers' formulas, and windows against counting by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labs.model.attention import causal_mask, window_mask
from labs.model.positions import (
    Rope,
    apply_rope,
    interpolated_rope,
    ntk_rope,
    rope_angles,
    rope_frequencies,
    yarn_ramp,
    yarn_rope,
)
from labs.model.transformer import GPT, Config

TINY = Config(vocab_size=40, context_length=16, n_layers=3, n_heads=2, d_model=32)


def tiny(**changes):
    torch.manual_seed(0)
    return GPT(Config(**{**TINY.to_dict(), **changes})).eval()


def test_interpolation_reads_position_m_as_m_over_s():
    """Chen et al. (2023), eq. 4: f'(x, m) = f(x, m / s)."""
    m = torch.arange(32)
    torch.testing.assert_close(interpolated_rope(16, 4.0).angles(m), rope_angles(m / 4, 16))


@pytest.mark.parametrize("d", [4, 32, 128])
def test_ntk_changes_the_base_and_meets_interpolation_at_the_last_pair(d):
    """YaRN, eq. 16: b' = b s^(d/(d-2)); by its derivation the last pair is interpolated fully."""
    plain, ntk = rope_frequencies(d), ntk_rope(d, 8.0).frequencies
    base = 10_000 * 8.0 ** (d / (d - 2))
    expected = [base ** (-2 * i / d) for i in range(d // 2)]
    torch.testing.assert_close(ntk, torch.tensor(expected))
    assert ntk[0] == plain[0]
    assert (plain[-1] / ntk[-1]).item() == pytest.approx(8.0, rel=1e-5)


def test_yarn_follows_the_paper_pair_by_pair():
    """YaRN, eqs. 17, 18, 20 and 22, written out once more with Python's numbers."""
    d, s, trained, base, alpha, beta = 128, 16.0, 4096, 10_000.0, 1.0, 32.0
    rope = yarn_rope(d, s, trained)
    kinds = set()
    for i in range(d // 2):
        theta = base ** (-2 * i / d)
        r = trained / (2 * math.pi / theta)
        gamma = 0.0 if r < alpha else 1.0 if r > beta else (r - alpha) / (beta - alpha)
        kinds.add("none" if gamma == 1 else "full" if gamma == 0 else "part")
        expected = (1 - gamma) * theta / s + gamma * theta
        assert rope.frequencies[i].item() == pytest.approx(expected, rel=1e-4), i
    assert kinds == {"none", "full", "part"}
    assert rope.magnitude == pytest.approx(0.1 * math.log(16) + 1)
    ramp = yarn_ramp(d, trained, base, alpha, beta)
    assert (ramp.diff() <= 0).all() and ramp[0] == 1 and ramp[-1] == 0


def test_a_factor_of_one_changes_nothing():
    ids = torch.randint(0, 40, (2, 12))
    model = tiny()
    before = model(ids)
    for rope in (interpolated_rope(16, 1.0), ntk_rope(16, 1.0), yarn_rope(16, 1.0, 16)):
        torch.testing.assert_close(model.set_rope(rope)(ids), before, atol=1e-5, rtol=1e-4)
    assert torch.equal(model.set_rope(None)(ids), before)


def test_set_rope_reaches_every_layer_and_the_cache():
    ids = torch.randint(0, 40, (2, 12))
    model = tiny()
    before = model(ids)
    rope = yarn_rope(16, 4.0, 16)
    after = model.set_rope(rope)(ids)
    assert all(block.attention.rope is rope for block in model.blocks)
    assert (after - before).abs().max() > 1e-4
    cache = model.new_cache()
    pieces = [model(ids[:, i : i + 4], cache=cache) for i in (0, 4, 8)]
    torch.testing.assert_close(torch.cat(pieces, 1), after, atol=1e-5, rtol=1e-4)


def test_magnitude_multiplies_the_logits_by_its_square():
    x = torch.randn(1, 6, 32)
    layer = tiny().blocks[0].attention
    layer.rope = Rope(rope_frequencies(16), magnitude=1.5)
    q, k, _ = layer.project(x)
    layer.rope = Rope(rope_frequencies(16))
    q1, k1, _ = layer.project(x)
    torch.testing.assert_close(q @ k.mT, 2.25 * (q1 @ k1.mT))


def test_frequencies_are_those_of_the_angles():
    """`rope_angles` keeps its meaning: position times frequency, pair by pair."""
    m = torch.arange(7)
    for base in (100.0, 10_000.0):
        torch.testing.assert_close(
            rope_angles(m, 8, base), m[:, None].float() * rope_frequencies(8, base)
        )
    turned = apply_rope(torch.ones(1, 1, 7, 8), Rope(rope_frequencies(8)).angles(m))
    torch.testing.assert_close(turned, apply_rope(torch.ones(1, 1, 7, 8), rope_angles(m, 8)))


def test_what_cannot_be_stretched_is_refused():
    with pytest.raises(ValueError, match="one frequency"):
        ntk_rope(2, 4.0)
    with pytest.raises(ValueError, match="odd"):
        interpolated_rope(5, 4.0)
    with pytest.raises(ValueError, match="alibi, not rope"):
        tiny(positions="alibi").set_rope(None)
    with pytest.raises(ValueError, match="less than 1"):
        window_mask(4, 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 15))
def test_window_mask_by_hand(t, window):
    expected = [[0 <= q - k < window for k in range(t)] for q in range(t)]
    assert window_mask(t, window).tolist() == expected
    if window >= t:
        assert torch.equal(window_mask(t, window), causal_mask(t))


@pytest.mark.parametrize("window", [1, 2, 4])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_reach_of_stacked_windows(window, layers):
    """The output depends on exactly layers · (window - 1) tokens before its own."""
    model = tiny(n_layers=layers)
    x = model.embedding(torch.randint(0, 40, (1, 14))).detach().requires_grad_()
    y = x
    for block in model.blocks:
        y = block(y, window_mask(14, window))
    (gradient,) = torch.autograd.grad(y[0, -1].square().sum(), x)
    seen = gradient[0].abs().amax(-1) > 0
    reach = layers * (window - 1)
    assert seen.tolist() == [False] * (13 - reach) + [True] * (reach + 1)
