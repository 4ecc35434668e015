"""Group relative policy optimization: several answers to each prompt, judged against their mean.

Shao et al., DeepSeekMath (2024), sec. 4.1; without its two divisors: Liu et al., Understanding
R1-Zero-Like Training (2025), sec. 3.2 (Dr. GRPO).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from labs.model.transformer import GPT
from labs.train.decoding import gumbel_max


def group_advantages(rewards: Tensor, divide_by_std: bool = True, eps: float = 1e-6) -> Tensor:
    """Reward minus the group's mean, over its deviation: (P, G) to (P, G).

    The population's standard deviation, so that one right answer of G gets
    sqrt(G - 1). A group of equal rewards gets 0: it teaches nothing.
    `divide_by_std=False` is Dr. GRPO's.
    """
    centred = rewards - rewards.mean(-1, keepdim=True)
    if not divide_by_std:
        return centred
    return centred / (rewards.std(-1, correction=0, keepdim=True) + eps)


def token_log_probs(model: GPT, ids: Tensor, prompt: int, temperature: float = 1.0) -> Tensor:
    """log π of each answer token given all before it: ids (B, T) to (B, T - prompt), in nats."""
    logits = model(ids[:, :-1])[:, prompt - 1 :] / temperature
    answers = ids[:, prompt:]
    return -F.cross_entropy(logits.transpose(1, 2), answers, reduction="none")


def kl_estimate(log_probs: Tensor, reference: Tensor) -> Tensor:
    """π_ref/π - log(π_ref/π) - 1 of each sampled token: DeepSeekMath's eq. 4.

    Never negative; under π its mean is KL(π ‖ π_ref).
    """
    gap = reference - log_probs
    return gap.exp() - gap - 1


def grpo_loss(
    log_probs: Tensor,
    old: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip: float = 0.2,
    reference: Tensor | None = None,
    beta: float = 0.0,
    per_answer_mean: bool = True,
) -> Tensor:
    """The loss whose descent is DeepSeekMath's eq. 3, a scalar.

    Args:
        log_probs, old, reference: log π of each answer token under the policy
            that learns, the one that sampled, and the frozen one; (B, T). `old`
            and `reference` have no gradient.
        advantages: (B,), one for each answer, the same for all its tokens.
        mask: (B, T), 1 on the tokens of the answer, 0 behind its end.
        clip: ε: no gain from moving the ratio π/π_old beyond 1 ± ε.
        beta: weight of the KL estimate.
        per_answer_mean: mean over the tokens of each answer, then over answers.
            False: sum over tokens, divided by B·T, a constant (Dr. GRPO).
    """
    ratio = (log_probs - old).exp()
    a = advantages[:, None]
    gain = torch.minimum(ratio * a, ratio.clamp(1 - clip, 1 + clip) * a)
    if reference is not None:
        gain = gain - beta * kl_estimate(log_probs, reference)
    length = mask.size(1)
    if per_answer_mean:
        length = mask.sum(-1, keepdim=True).clamp(min=1)
    return -(gain * mask / length).sum(-1).mean()


@torch.no_grad()
def sample_answers(
    model: GPT,
    prompts: Tensor,
    group: int,
    length: int,
    generator: torch.Generator,
    temperature: float = 1.0,
) -> Tensor:
    """`group` answers of `length` tokens to each prompt: prompts (P, T) to (P · group, T + length).

    The answers of a prompt are neighbours. Draws come from `generator`, on the CPU. The short
    sequences are run anew for each token: for a few tokens that is cheaper than a cache.
    """
    ids = prompts.repeat_interleave(group, 0)
    for _ in range(length):
        logits = model(ids)[:, -1].float().cpu() / temperature
        ids = torch.cat((ids, gumbel_max(logits, generator)[:, None].to(ids.device)), 1)
    return ids
