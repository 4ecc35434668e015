"""Where a token stands: rotary angles (RoPE), RoPE stretched beyond its training length, ALiBi."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def rope_frequencies(d_head: int, base: float = 10_000.0) -> Tensor:
    """Radians per token θ_i = base^(-2i / d_head) of the pairs i = 0 … d_head/2 - 1, float32.

    Su et al., RoFormer (2021), sec. 3.2.2, eq. 15.
    Raises ValueError when `d_head` is odd: coordinates are rotated in pairs.
    """
    if d_head % 2:
        raise ValueError(f"RoPE rotates pairs of coordinates: d_head is {d_head}, and odd.")
    return base ** -(torch.arange(0, d_head, 2, dtype=torch.float32) / d_head)


def rope_angles(positions: Tensor, d_head: int, base: float = 10_000.0) -> Tensor:
    """Rotation angles m·θ_i, shape `(*positions.shape, d_head // 2)`, in radians, float32.

    Raises ValueError when `d_head` is odd.
    """
    frequencies = rope_frequencies(d_head, base).to(positions.device)
    return positions.float()[..., None] * frequencies


def apply_rope(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate the pairs (x_i, x_{i + d/2}) of `x` (B, H, T, d_head) by `angles` (T, d_head / 2).

    A rotation changes no norm, and q·k then depends on the distance of the two positions only.
    """
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1)


@dataclass(frozen=True)
class Rope:
    """Rotary positions with frequencies of their own: `GPT.set_rope` gives them to a model.

    frequencies: radians per token, (d_head / 2,).
    magnitude: factor on the rotated queries and on the rotated keys, so on logits its square.
    """

    frequencies: Tensor
    magnitude: float = 1.0

    def angles(self, positions: Tensor) -> Tensor:
        """(*positions.shape, d_head / 2), in radians."""
        return positions.float()[..., None] * self.frequencies.to(positions.device)


def interpolated_rope(d_head: int, factor: float, base: float = 10_000.0) -> Rope:
    """Position interpolation: position m is read as m / factor.

    Chen et al., Extending Context Window via Positional Interpolation (2023), sec. 2.3, eq. 4.
    """
    return Rope(rope_frequencies(d_head, base) / factor)


def ntk_rope(d_head: int, factor: float, base: float = 10_000.0) -> Rope:
    """NTK-aware: a larger base, base · factor^(d / (d - 2)), leaves θ_0 and divides the last θ.

    Peng et al., YaRN (2024), sec. 3.1. Raises ValueError when there is only one pair.
    """
    if d_head < 4:
        raise ValueError(f"With d_head = {d_head} there is one frequency: none to leave as it is.")
    return Rope(rope_frequencies(d_head, base * factor ** (d_head / (d_head - 2))))


def yarn_ramp(d_head: int, trained: int, base: float, alpha: float, beta: float) -> Tensor:
    """γ of every pair, (d_head / 2,): 0 is interpolated in full, 1 is left as trained.

    It rises linearly while a pair makes `alpha` to `beta` full turns in `trained` tokens.
    Peng et al., YaRN (2024), sec. 3.2.
    """
    turns = trained * rope_frequencies(d_head, base) / (2 * math.pi)
    return ((turns - alpha) / (beta - alpha)).clamp(0.0, 1.0)


def yarn_rope(
    d_head: int,
    factor: float,
    trained: int,
    base: float = 10_000.0,
    alpha: float = 1.0,
    beta: float = 32.0,
) -> Rope:
    """YaRN: "NTK-by-parts" frequencies, and logits multiplied by (0.1 ln factor + 1)².

    Peng et al., YaRN (2024), sec. 3.2 to 3.4; alpha and beta are those given there for Llama.
    """
    ramp = yarn_ramp(d_head, trained, base, alpha, beta)
    frequencies = rope_frequencies(d_head, base)
    mixed = (1 - ramp) * frequencies / factor + ramp * frequencies
    return Rope(mixed, magnitude=0.1 * math.log(factor) + 1.0)


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
