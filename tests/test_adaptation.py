"""LoRA: nothing changes at the start, only the thin matrices learn, and merging leaves no trace."""

import copy

import pytest
import torch
import torch.nn.functional as F

from labs.model.adaptation import LoRALinear, add_lora, count_trainable, merge_lora
from labs.model.transformer import GPT, Config

CONFIG = Config(vocab_size=40, context_length=16, n_layers=2, n_heads=4, d_model=32)
IDS = torch.arange(24).view(2, 12)


def pair(rank=3, **options):
    torch.manual_seed(0)
    model = GPT(CONFIG)
    return model, add_lora(copy.deepcopy(model), rank, **options)


def trained(model):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for _ in range(5):
        loss = F.cross_entropy(model(IDS[:, :-1]).flatten(0, 1), IDS[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def test_the_first_output_is_that_of_the_model():
    model, adapted = pair()
    assert torch.equal(model(IDS), adapted(IDS))


@pytest.mark.parametrize("names", [(), ("query", "value"), ("down",)])
def test_the_trainable_numbers_are_counted_by_the_formula(names):
    model, adapted = pair(rank=2, names=names)
    layers = [
        layer
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear)
        and (name.rpartition(".")[2] in names if names else name != "head")
    ]
    assert layers
    expected = sum(2 * (layer.in_features + layer.out_features) for layer in layers)
    assert count_trainable(adapted) == expected
    assert sum(isinstance(m, LoRALinear) for m in adapted.modules()) == len(layers)


def test_training_moves_the_thin_matrices_only():
    model, adapted = pair(alpha=6)
    trained(adapted)
    for name, layer in adapted.named_modules():
        if isinstance(layer, LoRALinear):
            assert torch.equal(layer.base.weight, model.get_submodule(name).weight)
            assert 1 <= torch.linalg.matrix_rank(layer.delta()) <= 3 and layer.scale == 2
    assert torch.equal(adapted.embedding.weight, model.embedding.weight)
    assert not torch.allclose(adapted(IDS), model(IDS), atol=1e-3)


def test_merging_keeps_the_function_and_the_names():
    model, adapted = pair()
    trained(adapted)
    before = adapted(IDS)
    merged = merge_lora(adapted)
    torch.testing.assert_close(merged(IDS), before, atol=1e-5, rtol=1e-4)
    assert merged.state_dict().keys() == model.state_dict().keys()


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="rank must be 1 to 4"):
        LoRALinear(torch.nn.Linear(8, 4), 5)
    with pytest.raises(ValueError, match="No linear layer"):
        add_lora(GPT(CONFIG), 2, names=("typo",))
