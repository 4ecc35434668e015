"""The formulas of `labs.model.counting` against real modules and torch's FLOP counter."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from labs.model.counting import (
    GPT2_SMALL,
    LLAMA3_8B,
    LLAMA3_70B,
    forward_flops,
    kv_cache_bytes,
    multiplied,
    parameters,
    training_flops_per_token,
)
from labs.model.transformer import GPT, Config, count_parameters

TINY = Config(vocab_size=50, context_length=16, n_layers=3, n_heads=4, d_model=32)
VARIANTS = {
    "llama": TINY,
    "gpt2": replace(TINY, norm="layernorm", positions="learned", mlp="gelu", bias=True),
    "rmsnorm with biases": replace(TINY, bias=True),
    "layernorm without biases": replace(TINY, norm="layernorm", mlp="gelu"),
    "alibi": replace(TINY, positions="alibi"),
    "multi-query": replace(TINY, n_kv_heads=1, bias=True),
    "grouped, untied": replace(TINY, n_kv_heads=2, tied=False),
    "odd hidden width": replace(TINY, d_ff=37),
    "no layers": replace(TINY, n_layers=0),
}
T = 11


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_parameters_of_real_modules_part_by_part(config):
    model, parts = GPT(config), parameters(config)
    assert parts.total == count_parameters(model)
    assert parts.embedding == count_parameters(model.embedding)
    assert parts.attention == sum(count_parameters(block.attention) for block in model.blocks)
    assert parts.mlp == sum(count_parameters(block.mlp) for block in model.blocks)
    assert parts.head == (0 if config.tied else count_parameters(model.head))


def test_published_counts():
    assert parameters(GPT2_SMALL).total == 124_439_808
    assert parameters(LLAMA3_8B).total == 8_030_261_248
    assert parameters(LLAMA3_70B).total == 70_553_706_496


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_flops_of_a_training_step_are_those_that_torch_counts(config):
    model = GPT(config)
    ids = torch.randint(config.vocab_size, (2, T + 1))
    with FlopCounterMode(display=False) as forward:
        logits = model(ids[:, :-1], weights=[])  # explicit attention: every product is seen
    assert forward.get_total_flops() == 2 * forward_flops(config, T)
    with FlopCounterMode(display=False) as backward:
        F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
    counted = forward.get_total_flops() + backward.get_total_flops()
    assert counted == 2 * T * training_flops_per_token(config, T)


def test_six_n_is_the_part_without_attention_scores():
    for config in (GPT2_SMALL, LLAMA3_8B):
        n, t = multiplied(config), 512
        assert training_flops_per_token(config, t) == (
            6 * n + 12 * config.n_layers * t * config.d_model
        )
    half = forward_flops(TINY, T, causal_half=True) - 2 * T * multiplied(TINY)
    full = forward_flops(TINY, T) - 2 * T * multiplied(TINY)
    assert half / full == pytest.approx((T + 1) / (2 * T))


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_cache_bytes_of_a_filled_cache(config):
    model = GPT(config)
    cache = model.new_cache()
    if config.n_layers == 0:
        assert kv_cache_bytes(config, T) == 0
        return
    with torch.no_grad():
        model(torch.randint(config.vocab_size, (1, T)), cache=cache)
    assert sum(layer.nbytes for layer in cache) == kv_cache_bytes(config, T, bytes_per_number=4)


def test_cache_of_llama():
    assert kv_cache_bytes(LLAMA3_8B, 1) == 128 * 1024
    assert kv_cache_bytes(replace(LLAMA3_8B, n_kv_heads=None), 32_768) == 16 * 1024**3
