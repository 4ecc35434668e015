"""Online softmax in tiles equals full attention, and holds T · block scores."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labs.model.attention import attention, causal_mask
from labs.model.attention_tiled import tiled_attention


@settings(max_examples=30, deadline=None)
@given(
    t=st.integers(1, 40), d=st.integers(1, 16), block=st.integers(1, 50), causal=st.booleans(),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_equals_full_attention(t: int, d: int, block: int, causal: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, 2, 3, t, d, generator=generator)
    out, peak = tiled_attention(q, k, v, block, causal)
    full, _ = attention(q, k, v, causal_mask(t) if causal else None)
    torch.testing.assert_close(out, full, atol=1e-5, rtol=1e-5)
    assert peak == t * min(block, t)


def test_cross_attention_and_scores_that_would_overflow() -> None:
    q, k, v = 100 * torch.randn(5, 8), 100 * torch.randn(33, 8), torch.randn(33, 4)
    out, peak = tiled_attention(q, k, v, block=16)
    torch.testing.assert_close(out, attention(q, k, v)[0], atol=1e-4, rtol=1e-4)
    assert out.shape == (5, 4) and peak == 5 * 16


def test_causal_needs_equal_lengths() -> None:
    with pytest.raises(ValueError, match="as many keys as queries"):
        tiled_attention(torch.ones(2, 4), torch.ones(3, 4), torch.ones(3, 4), 2, causal=True)
