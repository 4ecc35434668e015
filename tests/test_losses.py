"""Chunked cross-entropy is cross-entropy with less memory; DPO is what its paper writes."""

import math

import pytest
import torch
import torch.nn.functional as F

from labs.book.allocations import peak_tensor_bytes
from labs.train.losses import chunked_cross_entropy, dpo_loss, sequence_log_probs

N, D, V = 37, 8, 50


def head(dtype=torch.float64, ignored=5):
    g = torch.Generator().manual_seed(3)
    hidden = torch.randn(N, D, generator=g, dtype=torch.float64).to(dtype).requires_grad_()
    weight = torch.randn(V, D, generator=g, dtype=torch.float64).to(dtype).requires_grad_()
    targets = torch.randint(V, (N,), generator=g)
    targets[torch.randperm(N, generator=g)[:ignored]] = -100
    return hidden, weight, targets


def plain(hidden, weight, targets):
    return F.cross_entropy(hidden @ weight.T, targets)


@pytest.mark.parametrize("chunk", [1, 7, 36, 37, 1000])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_chunked_equals_plain_in_value_and_gradient(chunk, dtype, near):
    hidden, weight, targets = head(dtype)
    loss = chunked_cross_entropy(hidden, weight, targets, chunk=chunk)
    expected = plain(hidden, weight, targets)
    assert loss.dtype == dtype and abs(loss - expected) < near
    seen = torch.autograd.grad(3 * loss, (hidden, weight))  # 3: the incoming gradient counts
    for mine, theirs in zip(seen, torch.autograd.grad(3 * expected, (hidden, weight)), strict=True):
        torch.testing.assert_close(mine, theirs, atol=3 * near, rtol=0)


def test_gradients_agree_with_finite_differences():
    hidden, weight, targets = head()
    assert torch.autograd.gradcheck(
        lambda h, w: chunked_cross_entropy(h, w, targets, chunk=10), (hidden, weight)
    )


def test_batches_keep_their_shape_and_large_logits_stay_finite():
    hidden, weight, targets = head(ignored=1)
    hidden3 = (hidden.detach()[:36] * 1e4).unflatten(0, (4, 9)).requires_grad_()
    loss = chunked_cross_entropy(hidden3, weight, targets[:36].unflatten(0, (4, 9)), chunk=10)
    loss.backward()
    assert hidden3.grad.shape == (4, 9, D) and hidden3.grad.isfinite().all()
    torch.testing.assert_close(loss, plain(hidden3.flatten(0, 1), weight, targets[:36]))


def test_bfloat16_gives_an_fp32_loss_near_the_exact_one():
    hidden, weight, targets = head(torch.bfloat16)
    loss = chunked_cross_entropy(hidden, weight, targets, chunk=10)
    loss.backward()
    assert loss.dtype == torch.float32 and weight.grad.dtype == torch.bfloat16
    exact = plain(hidden.double(), weight.double(), targets)
    assert abs(loss - exact) < 0.02


def test_micro_batches_with_the_global_total_add_up_to_the_whole_batch():
    hidden, weight, targets = head()
    total = (targets != -100).sum().item()
    whole = torch.autograd.grad(plain(hidden, weight, targets), weight)[0]
    parts = [
        torch.autograd.grad(chunked_cross_entropy(h, weight, y, chunk=4, total=total), weight)[0]
        for h, y in zip(hidden.split([5, 32]), targets.split([5, 32]), strict=True)
    ]
    torch.testing.assert_close(sum(parts), whole, atol=1e-13, rtol=0)


def test_positions_without_loss_cost_nothing():
    hidden, weight, targets = head(ignored=N)
    loss = chunked_cross_entropy(hidden, weight, targets)
    loss.backward()
    assert loss == 0 and not hidden.grad.any() and not weight.grad.any()
    with pytest.raises(ValueError, match="at least one position"):
        chunked_cross_entropy(hidden, weight, targets, chunk=0)


def test_no_tensor_of_all_logits_ever_exists():
    g = torch.Generator().manual_seed(0)
    n, d, v, chunk = 512, 16, 3000, 32
    hidden = torch.randn(n, d, generator=g, requires_grad=True)
    weight = torch.randn(v, d, generator=g, requires_grad=True)
    targets = torch.randint(v, (n,), generator=g)

    def both_passes(loss):
        torch.autograd.grad(loss(), (hidden, weight))

    logits = 4 * n * v
    with_all = peak_tensor_bytes(lambda: both_passes(lambda: plain(hidden, weight, targets)))
    chunked = peak_tensor_bytes(
        lambda: both_passes(lambda: chunked_cross_entropy(hidden, weight, targets, chunk=chunk))
    )
    assert 3 * logits <= with_all < 3.1 * logits  # log-probabilities and two gradients
    gradients = 4 * (n * d + v * d)
    assert chunked < 4 * chunk * v + 2 * gradients + 50_000 < logits / 4


def test_sequence_log_probs_sum_over_the_answer_only():
    g = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 4, 6, generator=g, dtype=torch.float64)
    targets = torch.tensor([[1, 2, 3, -100], [-100, 0, -100, 5]])
    log_p = logits.log_softmax(-1)
    expected = [
        log_p[0, 0, 1] + log_p[0, 1, 2] + log_p[0, 2, 3],
        log_p[1, 1, 0] + log_p[1, 3, 5],
    ]
    torch.testing.assert_close(sequence_log_probs(logits, targets), torch.stack(expected))


def test_dpo_starts_at_ln_2_and_has_the_gradient_of_the_paper():
    g = torch.Generator().manual_seed(2)
    start = torch.randn(2, 5, generator=g, dtype=torch.float64)
    losses, chosen, rejected = dpo_loss(*start, *start, beta=0.3)
    assert torch.allclose(losses, torch.full((5,), math.log(2), dtype=torch.float64), atol=1e-15)
    assert not chosen.any() and not rejected.any()
    policy = (start + torch.randn(2, 5, generator=g, dtype=torch.float64)).requires_grad_()
    losses, chosen, rejected = dpo_loss(*policy, *start, beta=0.3)
    (grad,) = torch.autograd.grad(losses.sum(), policy)
    weight = 0.3 * torch.sigmoid(rejected - chosen)  # sec. 4, "What does the DPO update do?"
    torch.testing.assert_close(grad, torch.stack([-weight, weight]), atol=1e-15, rtol=0)
    torch.testing.assert_close(chosen, 0.3 * (policy[0] - start[0]).detach())


def test_dpo_prefers_the_chosen():
    values = [torch.tensor([x]) for x in (-1.0, -5.0, -3.0, -3.0)]
    better = dpo_loss(*values)[0]
    worse = dpo_loss(values[1], values[0], *values[2:])[0]
    assert better < math.log(2) < worse
