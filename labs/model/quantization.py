"""Rounding weights to few bits: to the nearest number, and so that a layer's output suffers least.

All functions return the weights that are computed with, as floats: the error of low-bit storage
without its speed. Symmetric: codes from -(2^(b-1)-1) to 2^(b-1)-1, one scale for a group.
"""

from __future__ import annotations

import torch
from torch import Tensor


def scales(weight: Tensor, bits: int, group: int) -> Tensor:
    """The scale of each number of `weight` (rows, columns), its shape; `group` divides columns."""
    parts = weight.unflatten(1, (-1, group))
    largest = parts.abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 1)
    return torch.where(largest == 0, 1.0, largest).expand_as(parts).flatten(1)


def round_to_nearest(weight: Tensor, bits: int, group: int | str = "row") -> Tensor:
    """`weight` (rows, columns) with `bits` bits and a scale for each `group`.

    `group` is a number of neighbours in a row, "row", or "tensor".
    """
    if group == "tensor":
        return round_to_nearest(weight.reshape(1, -1), bits).view_as(weight)
    step = scales(weight, bits, weight.size(1) if group == "row" else group)
    return (weight / step).round() * step


def gptq(weight: Tensor, inputs: Tensor, bits: int, damping: float = 0.01) -> Tensor:
    """`weight` (rows, columns) rounded column by column, each error passed on to later columns.

    Frantar et al., GPTQ (2023), algorithm 1 without blocks, with a symmetric scale for each row.
    `inputs` are (n, columns) examples of what the layer multiplies; their Hessian is
    inputs^T inputs (the paper's factor 2 cancels), damped by a share of its mean diagonal.
    """
    hessian = inputs.double().T @ inputs.double()
    hessian += damping * hessian.diagonal().mean() * torch.eye(len(hessian), dtype=torch.double)
    inverse = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
    rest, step = weight.double().clone(), scales(weight, bits, weight.size(1)).double()
    most = 2 ** (bits - 1) - 1
    done = torch.empty_like(rest)
    for column in range(rest.size(1)):
        s = step[:, column]
        done[:, column] = (rest[:, column] / s).round().clamp(-most, most) * s
        error = (rest[:, column] - done[:, column]) / inverse[column, column]
        rest[:, column + 1 :] -= error[:, None] * inverse[column, column + 1 :]
    return done.to(weight.dtype)
