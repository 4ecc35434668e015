"""Where heads look and what they do: constructed cases with a known right answer."""

import math

import pytest
import torch

from labs.model.heads import (
    ablation_rises,
    attention_maps,
    head_means,
    induction_score,
    induction_targets,
    losses_by_position,
    mean_ablated,
    prefix_matching_score,
    previous_token_score,
    raw_scores,
    repeated,
    row_entropy,
)
from labs.model.transformer import GPT, Config


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(0)
    return GPT(Config(vocab_size=32, context_length=32, n_layers=2, n_heads=4, d_model=32)).eval()


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(32, (3, 12), generator=torch.Generator().manual_seed(1))


def looking_back(t: int, distance: int) -> torch.Tensor:
    """Maps (1, 1, 1, T, T) of a head that looks exactly `distance` back, at 0 where it cannot."""
    maps = torch.zeros(1, 1, 1, t, t)
    for query in range(t):
        maps[..., query, max(0, query - distance)] = 1.0
    return maps


def test_maps_are_causal_rows_that_sum_to_one(model: GPT, ids: torch.Tensor) -> None:
    maps = attention_maps(model, ids)
    assert maps.shape == (2, 3, 4, 12, 12)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 3, 4, 12))
    assert maps.triu(1).count_nonzero() == 0


def test_raw_scores_become_the_maps(model: GPT, ids: torch.Tensor) -> None:
    scores = raw_scores(model, ids)
    seen = torch.ones(12, 12, dtype=torch.bool).tril()
    weights = (scores / math.sqrt(8)).masked_fill(~seen, -math.inf).softmax(-1)
    torch.testing.assert_close(weights, attention_maps(model, ids))
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("change", [{"n_kv_heads": 2}, {"positions": "alibi"}])
def test_raw_scores_of_shared_keys_or_biases_are_refused(change: dict, ids: torch.Tensor) -> None:
    shape = {"vocab_size": 32, "context_length": 32, "n_layers": 1, "n_heads": 4, "d_model": 32}
    with pytest.raises(ValueError, match="scores"):
        raw_scores(GPT(Config(**shape, **change)), ids)


def test_row_entropy_knows_the_two_extremes() -> None:
    assert row_entropy(torch.full((8,), 1 / 8)).item() == pytest.approx(math.log(8))
    assert row_entropy(torch.tensor([1.0, 0.0, 0.0])).item() == 0.0


def test_scores_of_heads_with_one_habit() -> None:
    assert previous_token_score(looking_back(10, 1)).item() == 1.0
    assert previous_token_score(looking_back(10, 2)).item() == pytest.approx(1 / 9)  # query 1 only
    assert induction_score(looking_back(10, 4), period=5).item() == 1.0
    for distance in (1, 3, 5):
        assert induction_score(looking_back(10, distance), period=5).item() == 0.0


def test_even_weights_score_their_share() -> None:
    t, period = 10, 5
    even = torch.ones(t, t).tril() / torch.arange(1, t + 1)[:, None]
    maps = even[None, None, None]
    wanted = sum(1 / (q + 1) for q in range(period, t)) / period
    assert induction_score(maps, period).item() == pytest.approx(wanted)
    block = torch.arange(period)[None]
    score, chance = prefix_matching_score(maps, repeated(block))
    assert score.item() == pytest.approx(chance) == pytest.approx(wanted)


def test_prefix_matching_agrees_with_the_induction_score_on_a_repeat() -> None:
    maps, ids = looking_back(12, 5), repeated(torch.tensor([[3, 1, 4, 7, 5, 9]]))
    assert prefix_matching_score(maps, ids)[0].item() == induction_score(maps, 6).item() == 1.0


def test_induction_targets_follow_an_earlier_occurrence() -> None:
    targets = induction_targets(torch.tensor([[7, 8, 9, 7, 7]]))[0]
    assert targets.nonzero().tolist() == [[3, 1], [4, 1], [4, 4]]


def test_no_token_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to match"):
        prefix_matching_score(looking_back(4, 1), torch.arange(4)[None])


def test_ablating_a_head_equals_writing_its_mean_by_hand(model: GPT, ids: torch.Tensor) -> None:
    means = head_means(model, ids)
    assert means.shape == (2, 4, 8)
    outputs: list[torch.Tensor] = []
    read = model.blocks[1].attention.out.register_forward_hook(
        lambda module, inputs, output: outputs.extend((inputs[0], output))
    )
    with mean_ablated(model, [(1, 2)], means):
        model(ids)
    read.remove()
    written, output = outputs
    torch.testing.assert_close(written[..., 16:24], means[1, 2].expand(3, 12, 8))
    torch.testing.assert_close(output, written @ model.blocks[1].attention.out.weight.T)


def test_ablation_touches_one_head_and_leaves_no_trace(model: GPT, ids: torch.Tensor) -> None:
    before, means = model(ids), head_means(model, ids)
    with mean_ablated(model, [], means):
        torch.testing.assert_close(model(ids), before, rtol=0, atol=0)
    with mean_ablated(model, [(0, 0)], means):
        assert (model(ids) - before).abs().max() > 1e-6
    torch.testing.assert_close(model(ids), before, rtol=0, atol=0)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_hooks_are_removed_when_the_body_fails(model: GPT, ids: torch.Tensor) -> None:
    with pytest.raises(RuntimeError), mean_ablated(model, [(0, 1)], head_means(model, ids)):
        raise RuntimeError
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_head_that_writes_nothing_costs_nothing(model: GPT, ids: torch.Tensor) -> None:
    """Negation: a dead head's rise is 0, a live head's is not."""
    with torch.no_grad():
        model.blocks[1].attention.out.weight[:, :8] = 0.0  # head 0 of layer 1 is not read
    rises = ablation_rises(model, ids, head_means(model, ids))
    assert rises.shape == (2, 4)
    assert rises[1, 0].abs() < 1e-7
    assert (rises.flatten()[[0, 1, 2, 3, 5, 6, 7]].abs() > 1e-7).all()


def test_losses_by_position_are_the_models_own(model: GPT, ids: torch.Tensor) -> None:
    losses = losses_by_position(model, ids)
    wanted = -model(ids).log_softmax(-1)[1, 6, ids[1, 7]]
    assert losses.shape == (3, 11)
    assert losses[1, 6].item() == pytest.approx(wanted.item(), abs=1e-5)
