"""Copies trained at once are the same training as one model after the other."""

import pytest
import torch
from torch import nn

from labs.model.transformer import GPT, Config
from labs.train.optim import adamw
from labs.train.together import Copies, paired_difference
from labs.train.training import sample_batch

CONFIG = Config(vocab_size=64, context_length=16, n_layers=1, n_heads=2, d_model=16)
TOKENS = torch.randint(64, (2000,), generator=torch.Generator().manual_seed(0))
RATES = torch.tensor([[0.0, 1e-3, 2e-3], [1e-2, 1e-2, 0.0], [1e-3, 3e-3, 1e-2]])
SEEDS = (0, 0, 1)


def make(seed):
    torch.manual_seed(seed)
    return GPT(CONFIG)


def one_by_one(seed, rates):
    """The same training with torch's own AdamW."""
    model = make(seed)
    optimizer = adamw(model, 1.0)
    generator, losses = torch.Generator().manual_seed(seed), []
    for rate in rates:
        for group in optimizer.param_groups:
            group["lr"] = rate.item()
        x, y = sample_batch(TOKENS, 8, 16, generator)
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return model, losses


def test_copies_train_as_models_do_one_by_one():
    copies = Copies(make, SEEDS, TOKENS, context_length=16)
    losses = torch.stack(copies.run(RATES))
    for i, seed in enumerate(SEEDS):
        model, expected = one_by_one(seed, RATES[i])
        assert losses[:, i].tolist() == pytest.approx(expected, abs=1e-5)
        for name, parameter in model.named_parameters():
            assert torch.allclose(copies.params[name][i], parameter, atol=2e-5), name


def test_copies_of_one_seed_differ_only_by_their_rates():
    same = Copies(make, (3, 3), TOKENS, context_length=16)
    losses = torch.stack(same.run(torch.full((2, 4), 1e-3)))
    assert torch.equal(losses[:, 0], losses[:, 1])
    other = torch.stack(Copies(make, (3, 3), TOKENS, context_length=16).run(RATES[:2]))
    assert other[0, 0] == other[0, 1] and other[2, 0] != other[2, 1]


def test_scores_come_at_their_steps():
    copies = Copies(make, (0, 1), TOKENS, context_length=16)
    windows = TOKENS[: 17 * 5].view(5, 17)
    copies.run(torch.full((2, 6), 1e-3), every=3, held_out=windows)
    assert [step for step, _ in copies.scores] == [3, 6]
    assert torch.equal(copies.scores[-1][1], copies.score(windows))


def test_paired_differences():
    mean, error = paired_difference(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 1.5, 2.0]))
    assert mean == pytest.approx(2.5 / 3)
    assert error == pytest.approx(torch.tensor([1.0, 0.5, 1.0]).double().std().item() / 3**0.5)
