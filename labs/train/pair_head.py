"""Two spans in one input, and the head of next sentence prediction on top of the encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labs.model.bert import BertForPretraining
from labs.text.pairs import Pair
from labs.text.wordpiece import WordPieceTokenizer

LONGEST = 64  # tokens of a span


def framed_pairs(
    pairs: Sequence[Pair], tokenizer: WordPieceTokenizer, longest: int = LONGEST
) -> tuple[Tensor, Tensor]:
    """[CLS] A [SEP] B [SEP], padded: ids and segment types, both (B, T).

    A keeps its last `longest` tokens and B its first: what follows stays next to what it follows.
    """
    rows = [
        tokenizer.frame(
            tokenizer.encode(pair.first.text)[-longest:],
            tokenizer.encode(pair.second.text)[:longest],
        )
        for pair in pairs
    ]
    width = max(len(ids) for ids, _ in rows)
    ids = [ids + [tokenizer.pad] * (width - len(ids)) for ids, _ in rows]
    types = [types + [0] * (width - len(types)) for _, types in rows]
    return torch.tensor(ids), torch.tensor(types)


def visible(ids: Tensor, tokenizer: WordPieceTokenizer) -> Tensor:
    """Attention mask (B, 1, 1, T): padding is not looked at."""
    return (ids != tokenizer.pad)[:, None, None]


def segment_features(x: Tensor, types: Tensor, keep: Tensor) -> Tensor:
    """u⊙v, |u-v| and u-v of both segments' mean vectors u, v, scaled to length √d: (B, 3 d_model).

    x (B, T, d_model) are the encoded pairs, `types` and `keep` (non-padding) are (B, T).
    """
    u, v = (
        F.normalize((x * at[..., None]).sum(1), dim=-1) * x.size(-1) ** 0.5
        for at in ((types == 0) & keep, (types == 1) & keep)
    )
    return torch.cat((u * v, (u - v).abs(), u - v), 1)


class PairHead(nn.Module):
    """The two logits, linear in `segment_features`.

    A linear layer on [CLS] would have to find the product u⊙v by itself, and a model of this size
    and budget does not.
    """

    def __init__(self, d_model: int):
        super().__init__()
        self.linear = nn.Linear(3 * d_model, 2)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, types: Tensor, keep: Tensor) -> Tensor:
        """Encoded pairs (B, T, d_model), types and non-padding (B, T) to logits (B, 2)."""
        return self.linear(segment_features(x, types, keep))


def encode_pairs(
    model: BertForPretraining, head: PairHead, ids: Tensor, types: Tensor, pad: int
) -> tuple[Tensor, Tensor]:
    """Ids (possibly hidden) and types (B, T): last layer (B, T, d_model), pair logits (B, 2)."""
    keep = ids != pad
    x = model.bert(ids, types, keep[:, None, None])
    return x, head(x, types, keep)
