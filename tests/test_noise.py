"""Per-sample gradients and the noise scale."""

import pytest
import torch
import torch.nn.functional as F

from labs.model.transformer import GPT, Config
from labs.train.noise import (
    noise_scale,
    per_sample_gradients,
    steps_and_samples,
    variance_of_means,
)


def test_per_sample_gradients_average_to_the_gradient_of_the_batch():
    torch.manual_seed(0)
    model, windows = GPT(Config(11, 8, 1, 2, 8)), torch.randint(11, (6, 9))
    each = per_sample_gradients(model, windows, chunk=4)
    F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten()).backward()
    whole = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert each.shape == (6, whole.numel())
    assert torch.allclose(each.mean(0), whole, atol=1e-6)


def test_noise_scale_of_known_noise():
    torch.manual_seed(1)
    signal = torch.full((400,), 0.1)  # |G|² = 4
    samples = signal + 0.5 * torch.randn(2000, 400)  # tr Σ = 100
    trace, square, scale = noise_scale(samples)
    assert trace == pytest.approx(100, rel=0.02) and square == pytest.approx(4, rel=0.05)
    assert scale == pytest.approx(25, rel=0.05)
    assert variance_of_means(samples, 16) == pytest.approx(100 / 16, rel=0.1)


def test_pure_noise_has_no_scale():
    samples = torch.randn(10, 50)
    samples = samples - samples.mean(0)
    with pytest.raises(ValueError, match="all noise"):
        noise_scale(samples)


def test_steps_and_samples_lie_on_the_hyperbola():
    for batch in (1, 64, 4096):
        steps, samples = steps_and_samples(batch, 300)
        assert (steps - 1) * (samples - 1) == pytest.approx(1)
    assert steps_and_samples(300, 300) == (2, 2)
