"""A recurrent language model: one hidden state carries everything from token to token."""

from __future__ import annotations

from torch import Tensor, nn


class GRUModel(nn.Module):
    """A gated recurrent unit (Cho et al., 2014) between an embedding and its transpose.

    Ids (B, T) to logits (B, T, vocab_size), as `GPT`: what it knows of tokens 0 … t when it
    predicts token t + 1 must fit into the `n_layers` states of `d_hidden` numbers.
    """

    def __init__(self, vocab_size: int, d_model: int, d_hidden: int, n_layers: int = 1):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.gru = nn.GRU(d_model, d_hidden, n_layers, batch_first=True)
        self.out = nn.Linear(d_hidden, d_model, bias=False)
        self.head = nn.Linear(d_model, vocab_size, bias=False)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        states, _ = self.gru(self.embedding(ids))
        return self.head(self.out(states))
