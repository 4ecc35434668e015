"""The loop: schedule, batches, bit-exact resume, a held-out loss that counts each token once."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labs.model.transformer import GPT, Config
from labs.train.one_pass import OnePass
from labs.train.optim import adamw, warmup_cosine
from labs.train.training import Loss, Recipe, Trainer, evaluate, sample_batch, token_losses

CONFIG = Config(vocab_size=40, context_length=16, n_layers=1, n_heads=2, d_model=16, dropout=0.2)
RECIPE = Recipe(steps=12, batch_size=4, context_length=16, lr=1e-2, warmup=3, seed=5)
TOKENS = torch.randint(0, 40, (500,), generator=torch.Generator().manual_seed(1))


def trainer(recipe=RECIPE):
    torch.manual_seed(0)
    return Trainer(GPT(CONFIG), TOKENS, recipe)


def test_schedule_has_its_peak_and_its_end():
    rates = [RECIPE.lr_at(step) for step in range(12)]
    assert rates[:4] == pytest.approx([1e-2 / 3, 2e-2 / 3, 1e-2, 1e-2])
    assert rates[-1] == pytest.approx(1e-3)
    assert all(a >= b for a, b in zip(rates[3:], rates[4:], strict=False))
    middle = warmup_cosine(50, steps=101, peak=1.0, warmup=0, min_ratio=0.0)
    assert middle == pytest.approx(0.5)


def test_adamw_equals_its_formula_and_decays_matrices_only():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = adamw(model, lr=0.1, weight_decay=0.5)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    # the first Adam step is lr · sign(gradient); all gradients here are 1
    expected = before["weight"] * (1 - 0.1 * 0.5) - 0.1
    torch.testing.assert_close(model.weight, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(model.bias, before["bias"] - 0.1, atol=1e-6, rtol=0)


def test_targets_are_the_next_tokens():
    generator = torch.Generator().manual_seed(0)
    x, y = sample_batch(torch.arange(100), 8, 16, generator)
    assert x.shape == y.shape == (8, 16) and torch.equal(y, x + 1)
    with pytest.raises(ValueError, match="hold no window"):
        sample_batch(torch.arange(16), 1, 16, generator)


def test_training_lowers_the_loss():
    periodic = torch.arange(500) % 7
    run = Trainer(GPT(CONFIG), periodic, RECIPE)
    run.run()
    assert run.losses[0] > 3 and run.losses[-1] < 0.7 * run.losses[0]


def test_resume_is_exact_to_the_bit(tmp_path):
    whole = trainer()
    whole.run()
    first = trainer()
    first.run(until=5)
    first.save(tmp_path / "c.pt")
    second = trainer()
    torch.manual_seed(999)  # another process would be in another random state
    second.resume(tmp_path / "c.pt")
    second.run()
    assert second.losses == whole.losses
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def test_a_resume_without_the_dropout_state_differs(tmp_path):
    whole, first = trainer(), trainer()
    whole.run()
    first.run(until=5)
    state = first.state_dict() | {"dropout": torch.Generator().manual_seed(3).get_state()}
    torch.save(state, tmp_path / "c.pt")
    second = trainer()
    second.resume(tmp_path / "c.pt")
    second.run()
    assert second.losses[5:] != whole.losses[5:]


def test_a_checkpoint_holds_the_random_state_of_the_gpus(tmp_path, monkeypatch):
    states, restored = [torch.arange(16, dtype=torch.uint8), torch.zeros(16).byte()], []
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", restored.extend)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # fewer than where it was saved
    trainer().save(tmp_path / "c.pt")
    trainer().resume(tmp_path / "c.pt")
    assert [r.tolist() for r in restored] == [states[0].tolist()]


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    trainer().save(tmp_path / "c.pt")
    other = trainer(Recipe(**{**RECIPE.__dict__, "lr": 0.5}))
    with pytest.raises(ValueError, match="another recipe"):
        other.resume(tmp_path / "c.pt")


@pytest.mark.parametrize("n", [9, 17, 18, 100, 113])
@pytest.mark.parametrize("stride", [4, 8, 16])
def test_every_token_is_predicted_once_with_enough_context(n, stride):
    model = trainer().model.eval()
    losses = token_losses(model, TOKENS[:n], 16, stride, batch_size=3)
    assert losses.shape == (n - 1,)
    for target in range(1, n):  # the window that predicts it, found the slow way
        start = 0
        while target > start + 16:
            start += stride
        window = TOKENS[start : target + 1]
        with torch.no_grad():
            logits = model(window[None, :-1])[0, -1]
        expected = F.cross_entropy(logits, window[-1])
        assert losses[target - 1].item() == pytest.approx(expected.item(), abs=1e-4)


def test_units_of_the_loss():
    loss = Loss(nats=200 * math.log(2), n_tokens=50, n_bytes=100)
    assert loss.bits_per_byte == pytest.approx(2.0)
    assert loss.nats_per_token == pytest.approx(4 * math.log(2))
    measured = evaluate(trainer().model, TOKENS, 499, 16)
    assert measured.n_tokens == 499
    assert measured.nats_per_token == pytest.approx(math.log(40), rel=0.02)


def test_one_pass_makes_every_token_a_target_once():
    text = torch.arange(8 * 4 * 5 + 1)
    recipe = Recipe(steps=5, batch_size=4, context_length=8, lr=1e-3, warmup=1, seed=3)
    assert OnePass.steps_of_a_pass(len(text), recipe) == 5
    model = GPT(Config(vocab_size=len(text), context_length=8, n_layers=1, n_heads=1, d_model=8))
    run, targets = OnePass(model, text, recipe), []
    for run.step in range(5):
        x, y = run.next_batch()
        assert x.shape == (4, 8) and torch.equal(y, x + 1)
        targets += y.flatten().tolist()
    assert sorted(targets) == list(range(1, len(text))) and targets != sorted(targets)
    with pytest.raises(ValueError, match="one pass"):
        OnePass(model, text[:-1], recipe)


def test_one_pass_trains_and_its_seed_decides_the_order():
    periodic = torch.arange(401) % 7
    recipe = Recipe(steps=25, batch_size=2, context_length=8, lr=1e-2, warmup=3)

    def run(seed):
        torch.manual_seed(0)
        return OnePass(GPT(CONFIG), periodic, replace(recipe, seed=seed)).run()

    assert run(0)[-1] < 0.7 * run(0)[0]
    assert run(0) == run(0) != run(1)
