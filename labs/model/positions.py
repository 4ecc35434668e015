"""Where a token stands: rotary angles (RoPE) and linear biases (ALiBi)."""

from __future__ import annotations

import torch
from torch import Tensor


def rope_angles(positions: Tensor, d_head: int, base: float = 10_000.0) -> Tensor:
    """Rotation angles m·θ_i, shape `(*positions.shape, d_head // 2)`, in radians, float32.

    θ_i = base^(-2i / d_head): Su et al., RoFormer (2021), sec. 3.2.2, eq. 15.
    Raises ValueError when `d_head` is odd: coordinates are rotated in pairs.
    """
    if d_head % 2:
        raise ValueError(f"RoPE rotates pairs of coordinates: d_head is {d_head}, and odd.")
    exponents = torch.arange(0, d_head, 2, device=positions.device, dtype=torch.float32) / d_head
    return positions.float()[..., None] * base**-exponents


def apply_rope(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate the pairs (x_i, x_{i + d/2}) of `x` (B, H, T, d_head) by `angles` (T, d_head / 2).

    A rotation changes no norm, and q·k then depends on the distance of the two positions only.
    """
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1)


def alibi_slopes(n_heads: int) -> Tensor:
    """One slope a head, (n_heads,): the geometric sequence 2^(-8h / n_heads), h = 1 … n_heads.

    Press et al., Train Short, Test Long (2022), sec. 3; stated there for powers of two, and used
    here for every number of heads.
    """
    return 2.0 ** (-8.0 * torch.arange(1, n_heads + 1) / n_heads)


def alibi_bias(n_heads: int, query_positions: Tensor, key_positions: Tensor) -> Tensor:
    """What ALiBi adds to the scores, (n_heads, T_q, T_k): minus slope times distance."""
    distance = (query_positions[:, None] - key_positions[None, :]).abs()
    return -alibi_slopes(n_heads).to(distance.device)[:, None, None] * distance
