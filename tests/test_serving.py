"""Bytes and FLOPs of a long prompt: published numbers, filled caches, counted pairs and FLOPs."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from labs.model.attention import window_mask
from labs.model.counting import LLAMA3_8B, LLAMA3_70B, forward_flops, kv_cache_bytes, parameters
from labs.model.serving import (
    KINDS,
    PATTERNS,
    cached_numbers,
    cost,
    kv_heads,
    page_data,
    visible_pairs,
    weights,
)
from labs.model.transformer import GPT, Config

DEEPSEEK_V2 = Config(102400, 4096, 60, 128, 128 * 128, tied=False)  # its heads: 128 of 128


def test_mla_is_grouped_query_with_two_and_a_quarter_groups():
    """DeepSeek-V2 (2024), Table 1 and sec. 2.1.4: 512 + 64 numbers instead of 32,768."""
    assert cached_numbers(DEEPSEEK_V2, "MLA") == 576
    assert cached_numbers(DEEPSEEK_V2, "MHA") == 32768
    assert cached_numbers(DEEPSEEK_V2, "MLA") / cached_numbers(DEEPSEEK_V2, "MQA") == 2.25


def test_llama_keeps_128_kib_a_token():
    assert cost(LLAMA3_8B, "GQA", 1).kept == 2 * 32 * 8 * 128 * 2 == 128 * 1024
    assert cost(LLAMA3_70B, "GQA", 1000).kept == kv_cache_bytes(LLAMA3_70B, 1000)
    assert cost(LLAMA3_8B, "MHA", 9).kept == 4 * cost(LLAMA3_8B, "GQA", 9).kept


@pytest.mark.parametrize("kind", ["MHA", "GQA", "MQA"])
def test_bytes_and_flops_are_those_of_a_real_model(kind):
    config = Config(50, 64, 2, 4, 32, n_kv_heads=2, tied=False)
    model = GPT(Config(**{**config.to_dict(), "n_kv_heads": kv_heads(config, kind)})).eval()
    ids, cache = torch.randint(0, 50, (1, 24)), model.new_cache()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        model(ids, cache=cache)
    predicted = cost(config, kind, 24, bytes_per_number=4)
    assert sum(layer.nbytes for layer in cache) == predicted.kept
    # The math kernel also computes the masked pairs: T² instead of T (T + 1) / 2.
    counted = predicted.linear + predicted.attention * 24 * 24 // visible_pairs(24)
    assert counter.get_total_flops() == counted == forward_flops(model.config, 24)


def test_mla_weights_are_those_of_its_matrices():
    config = Config(50, 64, 2, 4, 32, tied=False)
    h, c, r = 8, 32, 4
    attention = 32 * 4 * (h + r) + 32 * (c + r) + c * 4 * 2 * h + 4 * h * 32
    rest = weights(config, "MHA") - 2 * 4 * 32 * 32
    assert weights(config, "MLA") == rest + 2 * attention


@pytest.mark.parametrize(("tokens", "window"), [(1, 1), (9, 4), (9, 9), (9, 20), (12, 1)])
def test_pairs_are_those_of_the_mask(tokens, window):
    assert visible_pairs(tokens, window) == window_mask(tokens, window).sum().item()
    assert visible_pairs(tokens) == tokens * (tokens + 1) // 2


def test_windows_bound_the_cache_of_their_layers():
    per_layer = cached_numbers(LLAMA3_8B, "GQA") * 2
    every = cost(LLAMA3_8B, "GQA", 100_000, window=1024, pattern="all layers")
    assert every.kept == 32 * 1024 * per_layer
    mixed = cost(LLAMA3_8B, "GQA", 100_000, window=1024, pattern="5 of 6 layers")
    assert mixed.kept == (26 * 1024 + 6 * 100_000) * per_layer
    assert every.attention < mixed.attention < cost(LLAMA3_8B, "GQA", 100_000).attention
    short = [cost(LLAMA3_8B, "GQA", 512, window=1024, pattern=p) for p in PATTERNS]
    assert short[0] == short[1] == short[2]


def test_reading_and_shares():
    some = cost(LLAMA3_8B, "GQA", 4096)
    assert some.read == 2 * weights(LLAMA3_8B, "GQA") + some.kept
    parts = parameters(LLAMA3_8B)
    assert some.held == 2 * (parts.total - parts.norms) and round(some.held / 1e9) == 16
    tied = Config(50, 64, 2, 4, 32, tied=True)
    assert cost(tied, "MHA", 9).held == cost(tied, "MHA", 9).read - cost(tied, "MHA", 9).kept
    assert some.share == some.attention / (some.attention + some.linear)
    half = cost(LLAMA3_8B, "GQA", 4096, bytes_per_number=1)
    assert half.kept == some.kept / 2 and half.attention == some.attention


def test_unknown_kinds_are_refused_and_the_page_knows_all():
    with pytest.raises(ValueError, match="not a kind"):
        cached_numbers(LLAMA3_8B, "GKA")
    data = page_data()
    assert set(data["models"]["Llama 3 8B"]["cached"]) == set(KINDS)
    assert data["start"]["model"] in data["models"]
