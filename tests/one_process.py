"""The run of one process that runs of several ranks must equal."""

import torch
from torch import nn

from labs.ranks.workload import batch_of, next_token_loss


def adam_losses(model: nn.Module, steps: int, batch: int, lr: float = 1e-3) -> list[float]:
    """Train `model` in place on whole batches; returns its loss before each step."""
    adam = torch.optim.Adam(model.parameters(), lr=lr)
    losses = []
    for step in range(steps):
        loss = next_token_loss(model, *batch_of(step, 0, 1, batch))
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    return losses
