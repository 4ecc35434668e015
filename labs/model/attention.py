"""Attention: who looks at whom, and what they carry home."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labs.model.layers import RMSNorm
from labs.model.positions import Rope, alibi_bias, apply_rope, rope_angles


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention: softmax(q kᵀ · scale) v, and the weights themselves.

    Vaswani et al., Attention Is All You Need (2017), sec. 3.2.1, eq. 1.

    Args:
        q: queries, (..., T_q, d_head).
        k, v: keys and values, (..., T_k, d_head).
        mask: boolean, broadcastable to (..., T_q, T_k), True where a query may look; or a float
            tensor that is added to the scaled scores. A query that may look nowhere gives zeros.
        scale: default 1 / sqrt(d_head).

    Returns:
        output (..., T_q, d_head) and weights (..., T_q, T_k); each row of weights sums to 1.
    """
    scale = 1.0 / math.sqrt(q.size(-1)) if scale is None else scale
    scores = q @ k.transpose(-2, -1) * scale
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    weights = torch.softmax(scores, dim=-1).nan_to_num(0.0)  # a row of only -inf is 0, not NaN
    return weights @ v, weights


def causal_mask(t_q: int, t_k: int | None = None, device: torch.device | None = None) -> Tensor:
    """(T_q, T_k), True where key ≤ query; the last query is aligned with the last key."""
    t_k = t_q if t_k is None else t_k
    return torch.ones(t_q, t_k, dtype=torch.bool, device=device).tril(t_k - t_q)


def window_mask(t: int, window: int, device: torch.device | None = None) -> Tensor:
    """(T, T), True where the key is the query itself or one of the `window - 1` tokens before it.

    Beltagy et al., Longformer (2020), sec. 3.1, in the causal form of Jiang et al., Mistral 7B
    (2023), sec. 2. Raises ValueError for a window without even the query itself.
    """
    if window < 1:
        raise ValueError(f"A window holds the query itself: {window} is less than 1.")
    return causal_mask(t, device=device).triu(1 - window)


def padding_mask(lengths: Tensor, t_k: int) -> Tensor:
    """(B, 1, 1, T_k), True on real tokens: `lengths` (B,) tokens of each row are real."""
    return (torch.arange(t_k, device=lengths.device) < lengths[:, None])[:, None, None, :]


def document_mask(document_ids: Tensor) -> Tensor:
    """(B, 1, T, T), True where query and key belong to one document: `document_ids` is (B, T)."""
    return (document_ids[:, :, None] == document_ids[:, None, :])[:, None]


@dataclass
class LayerCache:
    """Keys and values of one layer that decoding has computed, each (B, n_kv_heads, T, d_head)."""

    k: Tensor | None = None
    v: Tensor | None = None

    @property
    def length(self) -> int:
        return 0 if self.k is None else self.k.size(2)

    @property
    def nbytes(self) -> int:
        return 0 if self.k is None else self.k.nbytes + self.v.nbytes

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        self.k = k if self.k is None else torch.cat((self.k, k), dim=2)
        self.v = v if self.v is None else torch.cat((self.v, v), dim=2)
        return self.k, self.v


class Attention(nn.Module):
    """Self-attention with `n_heads` query heads that share `n_kv_heads` key and value heads.

    n_kv_heads = n_heads is multi-head attention (Vaswani et al., 2017, sec. 3.2.2), 1 is
    multi-query (Shazeer, 2019), anything between is grouped-query (Ainslie et al., 2023).
    With `qk_norm` each query and key has root mean square 1 before its gain, so that the logits
    stay bounded (Dehghani et al., 2023, sec. 2, with LayerNorm there).
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_kv_heads: int | None = None,
        *,
        positions: str = "rope",
        rope_base: float = 10_000.0,
        causal: bool = True,
        bias: bool = False,
        qk_norm: bool = False,
    ):
        super().__init__()
        self.n_heads, self.n_kv_heads = n_heads, n_kv_heads or n_heads
        if d_model % n_heads or n_heads % self.n_kv_heads:
            raise ValueError(
                f"d_model ({d_model}) must be a multiple of n_heads ({n_heads}), "
                f"and n_heads of n_kv_heads ({self.n_kv_heads})."
            )
        self.d_head = d_model // n_heads
        self.positions, self.rope_base, self.causal = positions, rope_base, causal
        self.rope: Rope | None = None  # frequencies other than those of `rope_base`
        self.query = nn.Linear(d_model, n_heads * self.d_head, bias=bias)
        self.key = nn.Linear(d_model, self.n_kv_heads * self.d_head, bias=bias)
        self.value = nn.Linear(d_model, self.n_kv_heads * self.d_head, bias=bias)
        self.out = nn.Linear(n_heads * self.d_head, d_model, bias=bias)
        if qk_norm:
            self.query_norm, self.key_norm = RMSNorm(self.d_head), RMSNorm(self.d_head)

    def project(self, x: Tensor, start: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, n_heads, T, d_head), keys and values (B, n_kv_heads, T, d_head), rotated."""
        b, t, _ = x.shape
        q, k, v = (
            projection(x).view(b, t, -1, self.d_head).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        if hasattr(self, "query_norm"):
            q, k = self.query_norm(q), self.key_norm(k)
        if self.positions == "rope":
            at = torch.arange(start, start + t, device=x.device)
            if self.rope is None:
                angles = rope_angles(at, self.d_head, self.rope_base)
                return apply_rope(q, angles), apply_rope(k, angles), v
            angles, size = self.rope.angles(at), self.rope.magnitude
            q, k = size * apply_rope(q, angles), size * apply_rope(k, angles)
        return q, k, v

    def full_mask(self, mask: Tensor | None, t_q: int, t_k: int, x: Tensor) -> Tensor | None:
        """Join the causal mask, the caller's mask and ALiBi's bias; None when all may look."""
        if self.causal and t_q > 1:
            causal = causal_mask(t_q, t_k, x.device)
            mask = causal if mask is None else mask & causal
        if self.positions != "alibi":
            return mask
        keys = torch.arange(t_k, device=x.device)
        bias = alibi_bias(self.n_heads, keys[t_k - t_q :], keys).to(x.dtype)
        return bias if mask is None else torch.where(mask, bias, -math.inf)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        cache: LayerCache | None = None,
        weights: list[Tensor] | None = None,
    ) -> Tensor:
        """(B, T, d_model) to (B, T, d_model).

        `mask` is boolean, True where a query may look, and is joined with the causal mask. With a
        `cache`, x holds only the new tokens. A list given as `weights` receives this layer's
        (B, n_heads, T_q, T_k); the fused kernel, which never stores them, is then not used.
        """
        b, t, _ = x.shape
        q, k, v = self.project(x, start=0 if cache is None else cache.length)
        if cache is not None:
            k, v = cache.append(k, v)
        group = self.n_heads // self.n_kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        if weights is not None:
            out, used = attention(q, k, v, self.full_mask(mask, t, k.size(2), x))
            weights.append(used)
        elif mask is None and self.positions != "alibi" and k.size(2) == t:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        else:
            full = self.full_mask(mask, t, k.size(2), x)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=full)
        return self.out(out.transpose(1, 2).reshape(b, t, -1))
