"""Muon: what its iteration does to a matrix, and that a step is torch's."""

import pytest
import torch

from labs.model.transformer import GPT, Config
from labs.train.optim import Muon, muon_with_adamw, orthogonalised


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 32), (2, 32, 8)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    torch.manual_seed(0)
    updates = torch.randn(shape)
    result = orthogonalised(updates)
    assert result.shape == updates.shape
    u, s, v = torch.linalg.svd(updates, full_matrices=False)
    large = s > 0.05 * s.norm(dim=1, keepdim=True)
    found = torch.einsum("nij,nik,nkj->nj", u, result, v.mT)  # diagonal of uᵀ result v
    assert ((found[large] > 0.6) & (found[large] < 1.3)).all()
    rest = u.mT @ result @ v.mT - torch.diag_embed(found)
    assert rest.abs().max() < 1e-3


@pytest.mark.parametrize("shape", [(16, 16), (8, 32), (32, 8)])
def test_three_steps_are_those_of_torch(shape):
    torch.manual_seed(1)
    ours, theirs = (torch.nn.Parameter(torch.ones(shape)) for _ in range(2))
    options = {"lr": 0.02, "weight_decay": 0.1}
    a = Muon([ours], **options, dtype=torch.bfloat16)
    b = torch.optim.Muon([theirs], **options, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        a.step(), b.step()
    moved = (1 - theirs).abs().max().item()
    assert moved > 0.01 and torch.allclose(ours, theirs, atol=0.05 * moved)


def test_matrices_of_one_shape_do_not_mix():
    torch.manual_seed(2)
    together = [torch.nn.Parameter(torch.zeros(4, 6)) for _ in range(3)]
    grads = [torch.randn(4, 6) for _ in together]
    optimizer = Muon(together, lr=1.0, weight_decay=0.0)
    for p, g in zip(together, grads, strict=True):
        p.grad = g
    optimizer.step()
    for p, g in zip(together, grads, strict=True):
        alone = torch.nn.Parameter(torch.zeros(4, 6))
        alone.grad = g
        Muon([alone], lr=1.0, weight_decay=0.0).step()
        assert torch.allclose(p, alone, atol=1e-5)


def test_every_parameter_has_one_optimizer_and_muon_only_hidden_matrices():
    model = GPT(Config(20, 8, 2, 2, 8, qk_norm=True))
    muon, adamw = muon_with_adamw(model, lr=1e-3)
    groups = [p for o in (muon, adamw) for g in o.param_groups for p in g["params"]]
    assert sorted(map(id, groups)) == sorted(map(id, model.parameters()))
    hidden = {id(p) for p in model.blocks.parameters() if p.dim() == 2}
    assert {id(p) for g in muon.param_groups for p in g["params"]} == hidden


def test_a_vector_is_refused():
    with pytest.raises(ValueError, match="matrices"):
        Muon([torch.nn.Parameter(torch.zeros(3))], lr=1.0)
