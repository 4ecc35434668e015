"""GRPO against its formulas, on numbers checked by hand, and on a task that it must learn."""

import math

import pytest
import torch
import torch.nn.functional as F

from labs.model.transformer import GPT, Config
from labs.train.grpo import (
    group_advantages,
    grpo_loss,
    kl_estimate,
    sample_answers,
    token_log_probs,
)

CONFIG = Config(vocab_size=7, context_length=8, n_layers=1, n_heads=2, d_model=16)


def test_advantages():
    rewards = torch.tensor([[1.0, 0, 0, 1], [0, 0, 1, 0], [1, 1, 1, 1]])
    got = group_advantages(rewards)
    torch.testing.assert_close(got[0], torch.tensor([1.0, -1, -1, 1]), atol=1e-4, rtol=0)
    assert got[1, 2].item() == pytest.approx(math.sqrt(3), abs=1e-4)  # one of four: sqrt(G - 1)
    assert (got[2] == 0).all()
    assert group_advantages(rewards, divide_by_std=False)[1].tolist() == [-0.25, -0.25, 0.75, -0.25]


def test_log_probs_are_those_of_the_answer():
    torch.manual_seed(0)
    model = GPT(CONFIG)
    ids = torch.randint(7, (3, 6))
    logs = F.log_softmax(model(ids), -1)
    for t in (0, 1):
        expected = logs[torch.arange(3), 3 + t, ids[:, 4 + t]]
        torch.testing.assert_close(token_log_probs(model, ids, prompt=4)[:, t], expected)


def test_the_kl_estimate_is_unbiased_and_never_negative():
    torch.manual_seed(0)
    p, q = torch.randn(2, 9).double().log_softmax(-1)
    estimate = kl_estimate(p, q)
    assert (estimate >= 0).all()
    assert (p.exp() * estimate).sum().item() == pytest.approx(
        (p.exp() * (p - q)).sum().item(), abs=1e-12
    )


def test_on_policy_the_gradient_is_the_policy_gradient():
    """At ratio 1 the gradient in log π is -A / |o| / B: REINFORCE with the group's baseline."""
    log_probs = torch.tensor([[-1.0, -2.0, -0.5], [-0.3, -0.7, -9.0]], requires_grad=True)
    mask = torch.tensor([[1.0, 1, 1], [1, 1, 0]])
    advantages = torch.tensor([2.0, -1.0])
    (grad,) = torch.autograd.grad(
        grpo_loss(log_probs, log_probs.detach(), advantages, mask), log_probs
    )
    expected = -advantages[:, None] * mask / mask.sum(1, keepdim=True) / 2
    torch.testing.assert_close(grad, expected)
    dr = grpo_loss(log_probs, log_probs.detach(), advantages, mask, per_answer_mean=False)
    (grad,) = torch.autograd.grad(dr, log_probs)
    torch.testing.assert_close(grad, -advantages[:, None] * mask / 3 / 2)


@pytest.mark.parametrize(("advantage", "ratio"), [(1.0, 1.3), (-1.0, 0.7)])
def test_beyond_the_clip_there_is_no_gradient(advantage, ratio):
    old = torch.tensor([[-1.0]])
    log_probs = (old + math.log(ratio)).requires_grad_()
    loss = grpo_loss(log_probs, old, torch.tensor([advantage]), torch.ones(1, 1))
    (grad,) = torch.autograd.grad(loss, log_probs)
    assert grad.item() == 0
    back = (old + math.log(1 / ratio)).requires_grad_()  # the wrong way: must be mended
    loss = grpo_loss(back, old, torch.tensor([advantage]), torch.ones(1, 1))
    assert torch.autograd.grad(loss, back)[0].item() != 0


def test_the_penalty_pulls_back_to_the_reference():
    log_probs = torch.tensor([[-0.5]], requires_grad=True)
    loss = grpo_loss(
        log_probs,
        log_probs.detach(),
        torch.zeros(1),
        torch.ones(1, 1),
        reference=torch.tensor([[-2.0]]),
        beta=0.1,
    )
    (grad,) = torch.autograd.grad(loss, log_probs)
    assert grad.item() == pytest.approx(0.1 * (1 - math.exp(-1.5)))


def test_it_learns_from_rewards_alone_and_repeats_itself():
    """Reward: the answer repeats the prompt's last token. No target is ever given."""

    def run():
        torch.manual_seed(0)
        model, gen = GPT(CONFIG), torch.Generator().manual_seed(1)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
        rates = []
        for _ in range(60):
            prompts = torch.randint(7, (16, 2), generator=gen)
            ids = sample_answers(model, prompts, 8, 1, gen)
            assert torch.equal(ids[:, :2], prompts.repeat_interleave(8, 0))
            rewards = (ids[:, 2] == ids[:, 1]).float().view(16, 8)
            logs = token_log_probs(model, ids, prompt=2)
            advantages = group_advantages(rewards).flatten()
            loss = grpo_loss(logs, logs.detach(), advantages, torch.ones_like(logs))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.append(rewards.mean().item())
        return rates

    first, second = run(), run()
    assert first == second
    assert sum(first[:5]) / 5 < 0.3 and sum(first[-5:]) / 5 > 0.8
