"""The tally of tensor bytes counts what is alive at one time, once, and lets go of the rest."""

import torch

from labs.book.allocations import peak_tensor_bytes


def test_what_is_released_does_not_add_up():
    def chain():
        x = torch.zeros(1000)
        for _ in range(5):
            x = x + 1  # the old and the new one live for a moment: two

    def hoard():
        kept = [torch.zeros(1000)]
        for _ in range(5):
            kept.append(kept[-1] + 1)

    assert peak_tensor_bytes(chain) == 2 * 4000
    assert peak_tensor_bytes(hoard) == 6 * 4000


def test_views_and_earlier_tensors_are_free():
    before = torch.zeros(1000)
    assert peak_tensor_bytes(lambda: before.view(10, 100).add_(1)) == 0
    assert peak_tensor_bytes(lambda: (before + 1).view(10, 100).t()) == 4000


def test_saved_activations_and_gradients_count():
    x = torch.randn(1000, requires_grad=True)

    def forward_and_backward():
        x.exp().exp().sum().backward()

    # Two results kept for the backward pass, and at its end two gradients beside one of them.
    assert 3 * 4000 <= peak_tensor_bytes(forward_and_backward) <= 4 * 4000 + 100


def test_two_runs_count_the_same():
    def run():
        torch.randn(64, 64) @ torch.randn(64, 64)

    assert peak_tensor_bytes(run) == peak_tensor_bytes(run) == 3 * 64 * 64 * 4
