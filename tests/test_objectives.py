"""Objectives: what is hidden, what is asked, and that nothing else is touched."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from labs.model.transformer import GPT, Config
from labs.train.objectives import (
    IGNORE,
    Masked,
    ObjectiveTrainer,
    Spans,
    causal,
    loss_of,
    mask_tokens,
    prefix_mask,
    span_corruption,
    span_counts,
)
from labs.train.training import Recipe, Trainer

V, MASK, PAD = 50, 50, 51  # ids 0 … 49 are text, the rest special
SENTINELS = torch.arange(60, 80)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def masked(ids, seed=0, **options):
    options = {"mask_id": MASK, "vocab_size": 52, "special_ids": (PAD,)} | options
    return mask_tokens(ids, generator=rng(seed), **options)


def test_causal_targets_are_the_next_tokens():
    windows = torch.arange(12).view(2, 6)
    examples = causal(windows)
    assert torch.equal(examples.inputs, windows[:, :-1])
    assert torch.equal(examples.targets, windows[:, 1:]) and examples.mask is None


class TestMasking:
    def test_rates(self):
        """15 % selected; of them 80/10/10 by chi-square; random tokens even over the vocabulary."""
        n = 1_000_000
        ids = torch.randint(V, (n,), generator=rng(1))
        inputs, targets = masked(ids)
        selected = targets != IGNORE
        assert abs(selected.float().mean() - 0.15) < 4 * math.sqrt(0.15 * 0.85 / n)
        hidden, same = inputs == MASK, selected & (inputs == ids)
        random = selected & ~hidden & ~same
        k = selected.sum().item()
        # one random token in V is the original: it is counted with those that stay
        expected = [0.8 * k, 0.1 * k * (V - 1) / V, (0.1 + 0.1 / V) * k]
        assert chisquare([x.sum().item() for x in (hidden, random, same)], expected).pvalue > 1e-3
        assert chisquare(torch.bincount(inputs[random], minlength=V).numpy()).pvalue > 1e-3

    def test_only_selected_positions_change_and_ask(self):
        ids = torch.randint(V, (4, 500), generator=rng(2))
        inputs, targets = masked(ids)
        selected = targets != IGNORE
        assert torch.equal(inputs[~selected], ids[~selected])
        assert torch.equal(targets[selected], ids[selected])
        assert inputs.shape == targets.shape == ids.shape

    def test_special_tokens_are_never_selected_nor_drawn(self):
        ids = torch.randint(V, (200, 100), generator=rng(3))
        ids[:, ::2] = torch.tensor([PAD, MASK]).repeat(25)
        inputs, targets = masked(ids, rate=1.0, shares=(0.0, 1.0, 0.0))
        assert (targets[:, ::2] == IGNORE).all() and torch.equal(inputs[:, ::2], ids[:, ::2])
        assert (targets[:, 1::2] != IGNORE).all() and inputs[:, 1::2].max() == V - 1

    def test_extremes(self):
        ids = torch.randint(V, (3, 40), generator=rng(4))
        assert (masked(ids, rate=0.0)[1] == IGNORE).all()
        inputs, targets = masked(ids, rate=1.0, shares=(1.0, 0.0, 0.0))
        assert (inputs == MASK).all() and torch.equal(targets, ids)
        assert torch.equal(masked(ids, rate=1.0, shares=(0.0, 0.0, 1.0))[0], ids)

    def test_the_generator_decides(self):
        ids = torch.randint(V, (3, 400), generator=rng(5))
        torch.manual_seed(0)
        first = masked(ids, seed=7)
        torch.manual_seed(1)
        for a, b in zip(first, masked(ids, seed=7), strict=True):
            assert torch.equal(a, b)
        assert not torch.equal(first[1], masked(ids, seed=8)[1])

    def test_a_token_does_not_move_the_others(self):
        ids = torch.randint(V, (1, 300), generator=rng(6))
        changed = ids.clone()
        changed[0, 0] = PAD
        for a, b in zip(masked(ids), masked(changed), strict=True):
            assert torch.equal(a[0, 1:], b[0, 1:])

    @pytest.mark.parametrize("wrong", [{"shares": (0.8, 0.1, 0.2)}, {"rate": 1.5}])
    def test_faults(self, wrong):
        with pytest.raises(ValueError, match="Shares must sum"):
            masked(torch.zeros(3, dtype=torch.long), **wrong)


def restored(inputs, targets):
    """Put the spans of one example back: the text must come out."""
    spans, current = {}, None
    for token in targets.tolist():
        if token >= SENTINELS[0]:
            spans[current := token] = []
        else:
            spans[current].append(token)
    return [t for i in inputs.tolist() for t in spans.get(i, [i])]


class TestSpans:
    @settings(deadline=None, max_examples=60)
    @given(st.integers(2, 90), st.floats(0.05, 0.6), st.floats(1, 5), st.integers(0, 10**6))
    def test_nothing_is_lost(self, length, rate, mean_span, seed):
        sentinels = torch.arange(60, 160)
        ids = torch.randint(V, (3, length), generator=rng(seed))
        inputs, targets = span_corruption(ids, sentinels, rng(seed), rate, mean_span)
        dropped, spans = span_counts(length, rate, mean_span)
        assert inputs.shape == (3, length - dropped + spans)
        assert targets.shape == (3, dropped + spans + 1)
        for row in range(3):
            assert restored(inputs[row], targets[row]) == ids[row].tolist()
            marks = inputs[row][inputs[row] >= 60]
            assert torch.equal(marks, sentinels[:spans])  # in order, each once
            assert torch.equal(targets[row][targets[row] >= 60], sentinels[: spans + 1])

    def test_spans_do_not_touch_and_all_placements_are_even(self):
        ids = torch.arange(6).repeat(30_000, 1)  # 2 of 6 tokens in 2 spans: 10 placements
        inputs, _ = span_corruption(ids, SENTINELS, rng(1), rate=1 / 3, mean_span=1)
        gone = torch.stack([(inputs != i).all(1) for i in range(6)], 1)
        code = (gone.long() * 2 ** torch.arange(6)).sum(1)
        counts = torch.unique(code, return_counts=True)[1]
        assert len(counts) == 10 and chisquare(counts.numpy()).pvalue > 1e-3
        assert not (gone[:, 1:] & gone[:, :-1]).any()

    def test_counts_of_the_paper(self):
        assert span_counts(512) == (77, 26)  # 15 % in spans of 3 on average
        assert span_counts(2) == (1, 1)

    def test_too_few_sentinels(self):
        with pytest.raises(ValueError, match="2 spans need 3 sentinels, not 2"):
            span_corruption(torch.zeros(1, 40).long(), SENTINELS[:2], rng())

    def test_as_a_prefix_language_model(self):
        spans = Spans(tuple(SENTINELS.tolist()))
        windows = torch.randint(V, (5, 65), generator=rng(2))
        examples = spans(windows, rng(3))
        length = spans.window_for(64)
        shown, asked = span_corruption(windows[:, :length], SENTINELS, rng(3))
        assert examples.inputs.shape == examples.targets.shape == (5, 64)
        assert torch.equal(examples.inputs, torch.cat((shown, asked[:, :-1]), 1))
        assert torch.equal(examples.targets[:, shown.size(1) - 1 :], asked)
        assert (examples.targets[:, : shown.size(1) - 1] == IGNORE).all()


def test_prefix_mask():
    assert prefix_mask(2, 4).int().tolist() == [
        [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1],
    ]  # fmt: skip


TRUNK = {"vocab_size": 80, "context_length": 32, "n_layers": 1, "n_heads": 2, "d_model": 16}
RECIPE = Recipe(steps=25, batch_size=8, context_length=32, lr=1e-2, warmup=3, seed=5)
OBJECTIVES = {
    "causal": (True, causal),
    "masked": (False, Masked(MASK, V)),
    "spans": (False, Spans(tuple(SENTINELS.tolist()))),
}


def trunk(is_causal):
    torch.manual_seed(0)
    return GPT(Config(**TRUNK, causal=is_causal))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_training_with_each_objective_lowers_its_loss(name):
    is_causal, objective = OBJECTIVES[name]
    run = ObjectiveTrainer(trunk(is_causal), torch.arange(600) % 7, RECIPE, objective)
    run.run()
    assert run.losses[0] == pytest.approx(math.log(80), rel=0.05)
    assert run.losses[-1] < 0.75 * run.losses[0]


def test_the_causal_objective_is_the_plain_trainer():
    tokens = torch.randint(V, (600,), generator=rng(9))
    plain = Trainer(trunk(True), tokens, RECIPE)
    objective = ObjectiveTrainer(trunk(True), tokens, RECIPE, causal)
    assert plain.run(until=3) == objective.run(until=3)


def test_no_target_leaks_into_what_predicts_it():
    """Changing a later target must not change the loss of an earlier one."""
    spans = OBJECTIVES["spans"][1]
    windows = torch.randint(V, (2, 33), generator=rng(4))
    examples = spans(windows, rng(5))
    model = trunk(False)
    changed = examples.inputs.clone()
    changed[:, -1] = 3
    before = model(examples.inputs, examples.mask)
    after = model(changed, examples.mask)
    torch.testing.assert_close(before[:, :-1], after[:, :-1], atol=0, rtol=0)
    assert not torch.equal(before[:, -1], after[:, -1])


def test_positions_without_a_target_get_no_gradient():
    is_causal, objective = OBJECTIVES["masked"]
    examples = objective(torch.randint(V, (2, 33), generator=rng(6)), rng(7))
    model, kept = trunk(is_causal), []
    model.head.register_forward_hook(lambda m, i, o: (o.retain_grad(), kept.append(o))[0])
    loss_of(model, examples).backward()
    size = kept[0].grad.abs().sum(-1)
    assert torch.equal(size != 0, examples.targets != IGNORE)
