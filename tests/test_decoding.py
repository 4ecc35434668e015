"""Decoding: the distributions by hand, sampling by its frequencies, cache against no cache."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labs.model.transformer import GPT, Config
from labs.train.decoding import generate, gumbel_max, next_token_probabilities

LOGITS = torch.log(torch.tensor([0.15, 0.5, 0.05, 0.3]))


def gpt(**changes):
    torch.manual_seed(0)
    model = GPT(Config(30, 24, 2, 2, 16, **changes))
    model.init_weights(std=0.5)  # far from uniform: every token is a decision
    return model


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_temperature_one_is_softmax_and_half_squares():
    assert torch.allclose(next_token_probabilities(LOGITS), LOGITS.exp())
    squared = LOGITS.exp() ** 2
    assert torch.allclose(next_token_probabilities(LOGITS, 0.5), squared / squared.sum())


def test_temperature_zero_is_greedy_and_takes_the_first_of_equals():
    assert next_token_probabilities(LOGITS, 0).tolist() == [0, 1, 0, 0]
    assert next_token_probabilities(torch.tensor([1.0, 2.0, 2.0]), 0).tolist() == [0, 1, 0]


def test_top_k_by_hand():
    p = next_token_probabilities(LOGITS, top_k=2)
    assert p.tolist() == pytest.approx([0, 0.5 / 0.8, 0, 0.3 / 0.8])
    assert (next_token_probabilities(torch.zeros(5), top_k=2) > 0).sum() == 2
    assert torch.allclose(next_token_probabilities(LOGITS, top_k=9), LOGITS.exp())


def test_top_p_by_hand():
    p = next_token_probabilities(LOGITS, top_p=0.9)  # 0.5 + 0.3 + 0.15
    assert p.tolist() == pytest.approx([0.15 / 0.95, 0.5 / 0.95, 0, 0.3 / 0.95])
    assert next_token_probabilities(LOGITS, top_p=0.1).tolist() == [0, 1, 0, 0]
    assert torch.allclose(next_token_probabilities(LOGITS, top_p=1.0), LOGITS.exp())


def test_min_p_by_hand():
    p = next_token_probabilities(LOGITS, min_p=0.25)  # at least 0.125
    assert p.tolist() == pytest.approx([0.15 / 0.95, 0.5 / 0.95, 0, 0.3 / 0.95])
    squared = next_token_probabilities(LOGITS, 0.5, min_p=0.25)  # 0.0225 < 0.25 · 0.25 < 0.09
    assert squared.tolist() == pytest.approx([0, 0.25 / 0.34, 0, 0.09 / 0.34])
    assert next_token_probabilities(LOGITS, min_p=1.0).tolist() == [0, 1, 0, 0]
    assert torch.allclose(next_token_probabilities(LOGITS, min_p=0.0), LOGITS.exp())
    with pytest.raises(ValueError, match=r"min_p is 1\.5"):
        next_token_probabilities(LOGITS, min_p=1.5)


def test_min_p_reaches_the_sampler():
    ids = torch.zeros(4, 1, dtype=torch.long)
    sampled = generate(gpt(), ids, 12, generator=seeded(), min_p=1.0)
    assert torch.equal(sampled, generate(gpt(), ids, 12, temperature=0))
    assert not torch.equal(sampled, generate(gpt(), ids, 12, generator=seeded()))


def test_gumbel_max_draws_from_the_softmax():
    n = 40_000
    drawn = gumbel_max(LOGITS.expand(n, 4), seeded()).bincount(minlength=4)
    expected = n * LOGITS.exp()
    assert ((drawn - expected) ** 2 / expected).sum() < 16.3  # chi-square, 3 degrees: p > 0.001
    biased = n * torch.softmax(LOGITS / 1.05, -1)
    assert ((drawn - biased) ** 2 / biased).sum() > 16.3  # and it would see 5 % of temperature
    cut = LOGITS.masked_fill(torch.tensor([False, True, False, True]), -math.inf)
    assert set(gumbel_max(cut.expand(n, 4), seeded()).tolist()) == {0, 2}


def test_order_is_temperature_then_top_k_then_top_p():
    p = next_token_probabilities(LOGITS, 0.5, top_k=2, top_p=0.7)  # 0.25 : 0.09 → 0.735 alone
    assert p.tolist() == [0, 1, 0, 0]


@given(
    st.lists(st.integers(-32, 32), min_size=2, max_size=12),
    st.floats(0.125, 4),
    st.integers(1, 12),
    st.floats(0.01, 1),
)
def test_it_is_a_distribution_that_keeps_the_likeliest(logits, temperature, k, p):
    logits = torch.tensor(logits) / 4
    q = next_token_probabilities(logits, temperature, top_k=k, top_p=p)
    assert q.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert 1 <= (q > 0).sum() <= k
    assert q[logits.argmax()] == q.max()
    if (q == 0).any():
        assert logits[q > 0].min() >= logits[q == 0].max()


def test_rows_of_a_batch_are_independent():
    batch = torch.stack((LOGITS, LOGITS.flip(0)))
    both = next_token_probabilities(batch, 0.7, top_k=3, top_p=0.9)
    for row, logits in zip(both, batch, strict=True):
        assert torch.equal(row, next_token_probabilities(logits, 0.7, top_k=3, top_p=0.9))


@pytest.mark.parametrize(
    "bad", [{"temperature": -1}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}], ids=str
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError):
        next_token_probabilities(LOGITS, **bad)


def test_sampled_frequencies_are_the_probabilities():
    model, n = gpt(), 4000
    start = torch.tensor([[3, 1, 4]])
    drawn = generate(model, start.repeat(n, 1), 1, generator=seeded(), temperature=1.5)[:, -1]
    p = next_token_probabilities(model(start)[0, -1].detach(), 1.5)
    seen = torch.bincount(drawn, minlength=30) / n
    assert ((seen - p).abs() < 5 * (p * (1 - p) / n).sqrt() + 1 / n).all()
    assert (seen - 1 / 30).abs().max() > 0.05  # it is not the uniform distribution


@pytest.mark.parametrize("positions", ["rope", "learned", "alibi", "none"])
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_cache_changes_nothing(positions, temperature):
    model = gpt(positions=positions)
    start = torch.randint(30, (3, 5), generator=seeded(1))
    options = {"temperature": temperature, "top_k": 10}
    with_cache = generate(model, start, 15, generator=seeded(), **options)
    without = generate(model, start, 15, generator=seeded(), use_cache=False, **options)
    assert torch.equal(with_cache, without)
    assert torch.equal(with_cache[:, :5], start) and with_cache.shape == (3, 20)


def test_greedy_takes_the_largest_logit_every_time():
    model = gpt()
    ids = generate(model, torch.tensor([[1, 2]]), 10, temperature=0)
    predicted = model(ids[:, :-1]).argmax(-1)
    assert torch.equal(predicted[:, 1:], ids[:, 2:])


def test_one_seed_one_text_and_another_seed_another():
    model = gpt()
    start = torch.tensor([[1, 2]])
    first, again, other = (generate(model, start, 20, generator=seeded(s)) for s in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_without_cache_the_window_slides():
    model = gpt(positions="learned")
    start = torch.randint(30, (1, 24), generator=seeded(2))
    assert generate(model, start, 8, use_cache=False, generator=seeded()).shape == (1, 32)
    with pytest.raises(ValueError, match="24"):
        generate(model, start, 8, generator=seeded())


def test_likely_text_is_likelier_when_cold():
    """Mean log-probability of what is drawn rises as the temperature falls."""
    model = gpt()
    start = torch.zeros(200, 1, dtype=torch.long)

    def log_probability(temperature):
        ids = generate(model, start, 8, generator=seeded(), temperature=temperature)
        logp = model(ids[:, :-1]).log_softmax(-1).gather(2, ids[:, 1:, None])
        return logp.mean().item()

    cold, warm, hot = (log_probability(t) for t in (0.3, 1.0, 3.0))
    assert cold > warm > hot and math.isfinite(hot)
