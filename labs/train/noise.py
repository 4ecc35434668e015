"""Gradient noise and the batch size: how many sequences a step should average."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel


def per_sample_gradients(model: nn.Module, windows: Tensor, chunk: int = 64) -> Tensor:
    """The gradient of each window's mean loss, (n, parameters) float32: windows (n, T + 1)."""
    weights = {name: p.detach() for name, p in model.named_parameters()}
    model.eval()

    def loss(weights: dict[str, Tensor], window: Tensor) -> Tensor:
        logits = functional_call(model, weights, (window[None, :-1],))
        return F.cross_entropy(logits[0], window[1:])

    each = vmap(grad(loss), in_dims=(None, 0))
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no rule for vmap
        parts = [each(weights, part) for part in windows.split(chunk)]
    return torch.cat([torch.cat([g.flatten(1) for g in part.values()], 1) for part in parts])


def noise_scale(gradients: Tensor) -> tuple[float, float, float]:
    """tr Σ, |G|² and the simple noise scale tr Σ / |G|² of per-sample gradients (n, parameters).

    McCandlish et al. (2018), eq. 2.9; |G|² is freed of the noise that the mean of n samples keeps
    (their appendix A.1). The scale is a number of samples.
    Raises ValueError where n samples do not show the gradient through its noise.
    """
    n = len(gradients)
    trace = gradients.var(0).sum().item()
    signal = gradients.mean(0).square().sum().item() - trace / n
    if signal <= 0:
        raise ValueError(f"{n} samples are too few: their mean is all noise.")
    return trace, signal, trace / signal


def variance_of_means(gradients: Tensor, batch: int) -> float:
    """Variance of the mean gradient of `batch` samples, summed over parameters.

    The samples (n, parameters) are cut into n // batch disjoint batches.
    """
    n = len(gradients) // batch * batch
    return gradients[:n].unflatten(0, (-1, batch)).mean(1).var(0).sum().item()


def steps_and_samples(batch: float, scale: float) -> tuple[float, float]:
    """Steps and samples to a loss, as multiples of the least possible ones.

    McCandlish et al. (2018), sec. 2.3: S / S_min = 1 + scale / batch and
    E / E_min = 1 + batch / scale, so that (S / S_min - 1)(E / E_min - 1) = 1.
    """
    return 1 + scale / batch, 1 + batch / scale


def page_data() -> dict:
    """Data of the explorable `batch_tradeoff`."""
    return {
        "batches": [2**i for i in range(4, 15)],
        "scales": [2**i for i in range(4, 15)],
        "devices": [2**i for i in range(11)],
        "start": {"batch": 512, "scale": 2048, "devices": 64},
    }
