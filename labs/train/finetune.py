"""Fine-tuning BERT for classification: one new layer on [CLS], and all weights learn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labs.model.bert import Bert, init_weights
from labs.model.pooling import in_batches, padded
from labs.text.wordpiece import WordPieceTokenizer
from labs.train.optim import adamw


class Classifier(nn.Module):
    """The encoder and one linear layer: Devlin et al. (2019), sec. 4.1."""

    def __init__(self, bert: Bert, n_classes: int):
        super().__init__()
        self.bert = bert
        self.head = nn.Linear(bert.config.d_model, n_classes)
        init_weights(self.head)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, n_classes) of ids (B, T); `mask` (B, 1, 1, T) is False on padding."""
        return self.head(self.bert.pool(self.bert(ids, mask=mask)))


def fine_tune(
    model: Classifier,
    tokenizer: WordPieceTokenizer,
    texts: Sequence[str],
    labels: Sequence[int],
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    seed: int,
) -> list[float]:
    """Train all weights; the rate warms up over 10 % of the steps, then falls linearly to 0.

    Returns the loss of every step, nats per example. `seed` fixes the order of the examples.
    """
    device = next(model.parameters()).device
    longest = min(128, model.bert.config.context_length)
    optimizer = adamw(model, lr, weight_decay=0.01)
    generator = torch.Generator().manual_seed(seed)
    batches = [
        part
        for _ in range(epochs)
        for part in torch.randperm(len(texts), generator=generator).split(batch_size)
    ]
    losses, warmup = [], max(1, len(batches) // 10)
    model.train()
    for step, part in enumerate(batches):
        left = (len(batches) - step) / max(1, len(batches) - warmup)
        for group in optimizer.param_groups:
            group["lr"] = lr * min((step + 1) / warmup, left)
        ids, mask = padded(tokenizer, [texts[i] for i in part], longest)
        wanted = torch.tensor([labels[i] for i in part], device=device)
        loss = F.cross_entropy(model(ids.to(device), mask.to(device)), wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def predict(
    model: Classifier, tokenizer: WordPieceTokenizer, texts: Sequence[str], batch_size: int = 64
) -> Tensor:
    """The likeliest class of each text, (len(texts),) int64, on the CPU."""
    device = next(model.parameters()).device
    longest = min(128, model.bert.config.context_length)
    model.eval()
    return torch.cat(
        [
            model(ids.to(device), mask.to(device)).argmax(-1).cpu()
            for ids, mask in in_batches(tokenizer, texts, batch_size, longest)
        ]
    )
