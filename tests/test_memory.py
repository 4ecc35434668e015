"""The memory model against the papers' printed numbers, and against tensors that autograd keeps."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from labs.ranks.memory import (
    GB,
    MOMENTS,
    PRECISIONS,
    TABLE_1,
    activation_bytes,
    deepspeed_state_bytes,
    gpt_shape,
    largest_model,
    prints_as,
    saved_bytes,
    state_bytes,
    straddling_elements,
)

TABLE_CELLS = [
    (parameters, ranks, stage, printed)
    for parameters, rows in TABLE_1.items()
    for ranks, row in rows.items()
    for stage, printed in enumerate(row, start=1)
]


def test_figure_1_of_the_paper():
    gigabytes = [7.5 * state_bytes(stage, ranks=64).total for stage in range(4)]
    assert [round(x, 1) for x in gigabytes] == [120.0, 31.4, 16.6, 1.9]


def test_table_1_has_54_cells():
    assert len(TABLE_CELLS) == 54


@pytest.mark.parametrize(("parameters", "ranks", "stage", "printed"), TABLE_CELLS)
def test_every_cell_of_table_1_to_its_last_digit(parameters, ranks, stage, printed):
    gigabytes = parameters * state_bytes(stage, ranks).total / GB
    assert prints_as(gigabytes, printed)


def test_a_wrong_formula_misses_table_1():
    """Splitting only the moments in stage 1, a likely slip, is caught by the printed cells."""
    wrong = [
        parameters * (2 + 2 + 4 + 8 / ranks) / GB
        for parameters, ranks, stage, _ in TABLE_CELLS
        if stage == 1 and ranks > 1
    ]
    printed = [cell for *_, ranks, stage, cell in TABLE_CELLS if stage == 1 and ranks > 1]
    assert not any(prints_as(value, cell) for value, cell in zip(wrong, printed, strict=True))


@pytest.mark.parametrize(
    ("value", "printed", "how"),
    [
        (41.25, "41.3", "rounded"),
        (257.75, "257", "truncated"),
        (30.0, "30", "exact"),
        (257.75, "259", None),
        (0.46, "0.47", None),
    ],
)
def test_prints_as(value, printed, how):
    assert prints_as(value, printed) == how


@given(
    st.integers(1, 4096),
    st.sampled_from(sorted(PRECISIONS)),
    st.sampled_from(sorted(MOMENTS)),
)
def test_each_stage_holds_no_more_than_the_one_before(ranks, precision, optimizer):
    totals = [state_bytes(stage, ranks, precision, optimizer).total for stage in range(4)]
    assert totals == sorted(totals, reverse=True)
    assert math.isclose(totals[3] * ranks, totals[0])
    assert (ranks == 1) == (totals[0] == totals[3])


def test_stage_and_ranks_are_checked():
    with pytest.raises(ValueError, match="stages 0 to 3"):
        state_bytes(4, ranks=2)
    with pytest.raises(ValueError, match="at least one rank"):
        state_bytes(1, ranks=0)


def test_deepspeed_differs_where_it_does():
    assert deepspeed_state_bytes(1, 4).total == 2 + 14 / 4
    assert deepspeed_state_bytes(1, 4, "fp32").total == 4 + 16 / 4
    assert deepspeed_state_bytes(3, 4, "fp32").total == 20 / 4
    assert deepspeed_state_bytes(0, 4, "fp32").total == 16


def test_largest_model_is_the_papers_table_2():
    billions = [largest_model(32e9, stage, ranks=64) / 1e9 for stage in range(4)]
    assert [round(x, 1) for x in billions] == [2.0, 7.6, 14.4, 128.0]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.sampled_from([1, 2, 4]))
def test_straddling_tensors_are_held_by_both_neighbours(sizes, ranks):
    held = straddling_elements(sizes, ranks)
    padding = -sum(sizes) % (2 * ranks)
    assert sum(held) >= sum(sizes) + padding
    if ranks == 1:
        assert held == [sum(sizes) + padding]


def test_straddling_elements_of_a_known_case():
    """Shards [0, 4) and [4, 8): the tensor of 4 elements lies in both; one element is padding."""
    assert straddling_elements([2, 4, 1], ranks=2) == [6, 6]


def test_activation_formula_of_the_zero_papers_example():
    """GPT-2 1.5B, 1K tokens, batch 32: the paper's footnote 3 says about 60 GB for 24 b·s·h·L."""
    footnote = 2 * 12 * 1600 * 32 * 1024 * 48 / GB
    assert round(footnote) == 60
    full = activation_bytes(48, 1600, 25, 1024, 32, "no recomputation") / GB
    assert full / footnote == pytest.approx(114 / 24)


def test_gpt_shape_is_near_gpt3():
    layers, hidden, heads = gpt_shape(175e9)
    assert (layers, hidden) == (pytest.approx(96, rel=0.01), pytest.approx(12288, rel=0.01))
    assert heads == layers


@pytest.mark.parametrize(
    ("sequence", "batch", "hidden", "heads"), [(64, 2, 64, 4), (32, 1, 128, 2), (96, 3, 32, 8)]
)
def test_activation_formula_against_what_autograd_keeps(sequence, batch, hidden, heads):
    """One bf16 layer, written as Korthikanti et al. count it, keeps equation 1 and 8 bytes a token.

    The 8 bytes are the mean and scale of two norms, which the paper neglects.
    """
    weights = {
        name: torch.randn(rows, columns, dtype=torch.bfloat16, requires_grad=True)
        for name, rows, columns in (
            ("qkv", hidden, 3 * hidden),
            ("out", hidden, hidden),
            ("up", hidden, 4 * hidden),
            ("down", 4 * hidden, hidden),
        )
    }
    x = torch.randn(batch, sequence, hidden, dtype=torch.bfloat16, requires_grad=True)
    outputs = []

    def dropout(t):
        return torch.native_dropout(t, 0.1, True)[0]

    def layer():
        q, k, v = (
            t.unflatten(-1, (heads, -1)).transpose(1, 2)
            for t in (F.layer_norm(x, (hidden,)) @ weights["qkv"]).chunk(3, -1)
        )
        attention = dropout(torch.softmax(q @ k.mT / math.sqrt(hidden / heads), -1))
        y = x + dropout((attention @ v).transpose(1, 2).flatten(2) @ weights["out"])
        z = F.gelu(F.layer_norm(y, (hidden,)) @ weights["up"]) @ weights["down"]
        outputs.append(y + dropout(z))

    measured = saved_bytes(layer, weights.values())
    predicted = activation_bytes(1, hidden, heads, sequence, batch, "no recomputation")
    assert measured == predicted + 8 * sequence * batch
