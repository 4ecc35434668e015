"""One vector for a whole text: batches of unequal length, and the mean over their real tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from labs.model.attention import padding_mask
from labs.model.bert import Bert
from labs.text.wordpiece import WordPieceTokenizer


def padded(
    tokenizer: WordPieceTokenizer, texts: Sequence[str], longest: int = 128
) -> tuple[Tensor, Tensor]:
    """[CLS] text [SEP] for each text, filled with [PAD]: ids (B, T), mask (B, 1, 1, T).

    Longer texts lose their end; T is the length of the longest row, at most `longest`.
    """
    rows = [tokenizer.frame(tokenizer.encode(text)[: longest - 2])[0] for text in texts]
    width = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.pad] * (width - len(row)) for row in rows])
    return ids, padding_mask(torch.tensor([len(row) for row in rows]), width)


def in_batches(
    tokenizer: WordPieceTokenizer, texts: Sequence[str], batch_size: int, longest: int = 128
) -> Iterator[tuple[Tensor, Tensor]]:
    """`padded` batches of the texts, in order."""
    for i in range(0, len(texts), batch_size):
        yield padded(tokenizer, texts[i : i + batch_size], longest)


@torch.no_grad()
def sentence_vectors(
    model: Bert,
    tokenizer: WordPieceTokenizer,
    texts: Sequence[str],
    batch_size: int = 32,
    longest: int = 128,
) -> Tensor:
    """Mean of the last layer over the real tokens, scaled to length 1: (len(texts), d_model).

    As in Sentence-BERT (Reimers and Gurevych, 2019, sec. 3, MEAN), [CLS] and [SEP] included. A dot
    product of two rows is their cosine. Texts of more than `longest` tokens lose their end.
    """
    device = next(model.parameters()).device
    vectors = []
    longest = min(longest, model.config.context_length)
    for ids, mask in in_batches(tokenizer, texts, batch_size, longest):
        ids, mask = ids.to(device), mask.to(device)
        real = mask[:, 0, 0, :, None].float()
        x = model(ids, mask=mask)
        vectors.append(F.normalize((x * real).sum(1) / real.sum(1), dim=-1).cpu())
    return torch.cat(vectors)
