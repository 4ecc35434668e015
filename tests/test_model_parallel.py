"""Parallel training along each axis equals one process; what is sent is what the theory says."""

import numpy as np
import pytest
import torch

from labs.ranks.launch import launch_named
from labs.ranks.messages import Message, tally
from labs.ranks.schedules import timeline
from labs.ranks.tensor_parallel import cut, cut_dim, own_piece
from labs.ranks.workload import CONFIG, batch_of, next_token_loss, small_gpt, untied_gpt

BATCH, RANKS, STEPS = 4, 2, 2
WHOLE = {"micro_batch": BATCH}
PIPE = {"run": "pipeline", "stages": 2, "steps": STEPS, "batch": BATCH,
        "settings": {"micro_batch": 1, "accumulate": 4}}  # fmt: skip
EXPERTS = {"run": "experts", "experts": 4, "steps": STEPS, "batch": BATCH,
           "settings": {"micro_batch": BATCH // RANKS}}  # fmt: skip
PLAN = {
    "by hand": {"run": "by hand", "steps": STEPS, "batch": BATCH, "lr": 1e-3},
    "averaged": {"run": "by hand", "steps": STEPS, "batch": BATCH, "lr": 1e-3, "average_every": 1},
    "auto": {"run": "auto tensor", "size": 2, "steps": STEPS, "batch": BATCH, "settings": WHOLE},
    "pipeline": PIPE,
    "tied": {**PIPE, "tied": True},
    "parted": {**PIPE, "tied": True, "reduce_tied": False},
    "attention": {"run": "attention", "shape": [1, 16, 4, 8]},
    "uneven": {"run": "attention", "shape": [1, 16, 3, 8]},
    "sequence": {"run": "sequence", "steps": STEPS, "batch": BATCH, "settings": WHOLE},
    "sequence 3": {"run": "sequence", "steps": STEPS, "batch": BATCH,
                   "settings": {**WHOLE, "stage": 3}},
    "together": {**EXPERTS, "size": 1},
    "spread": {**EXPERTS, "size": 2},
    "refused": {"run": "attempt", "stages": 2, "settings": {"micro_batch": 2, "stage": 2}},
    "plain": {"run": "attempt", "settings": {"micro_batch": 2}},
    "schedules": {"run": "schedules", "grid": [[3, 5]]},
}  # fmt: skip
ACTIVATION = f"all_reduce {BATCH}x{CONFIG.context_length}x{CONFIG.d_model}"


@pytest.fixture(scope="module")
def runs():
    options = {"world_size": RANKS, "timeout": 300.0, "env": {"OMP_NUM_THREADS": "1"}}
    return launch_named("labs.ranks.model_parallel", PLAN, **options)


def serial(model):
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses, gradients = [], {}
    for step in range(STEPS):
        loss = next_token_loss(model, *batch_of(step, 0, 1, BATCH))
        adam.zero_grad()
        loss.backward()
        gradients = gradients or {n: p.grad.clone() for n, p in model.named_parameters()}
        adam.step()
        losses.append(loss.item())
    return losses, gradients


@pytest.fixture(scope="module")
def one():
    return {"tied": serial(small_gpt()), "untied": serial(untied_gpt())}


RUNS_OF = {
    "tied": ("by hand", "tied", "sequence"),
    "untied": ("auto", "pipeline"),
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in RUNS_OF.items() for name in names]
)
def test_losses_are_those_of_one_process(runs, one, kind, name):
    assert runs[name][0]["losses"] == pytest.approx(one[kind][0], abs=5e-6)


@pytest.mark.parametrize(
    ("kind", "name", "cut_up"),
    [("tied", "by hand", True), ("untied", "auto", True), ("untied", "pipeline", False),
     ("tied", "sequence", False), ("tied", "sequence 3", False)],
)  # fmt: skip
def test_gradients_are_the_serial_ones_or_pieces_of_them(runs, one, kind, name, cut_up):
    """Relative to each tensor's largest: those of query and key are small in a young model."""
    for rank, result in enumerate(runs[name]):
        for tensor, gradient in result["gradients"].items():
            whole = one[kind][1][tensor]
            expected = own_piece(tensor, whole, RANKS, rank) if cut_up else whole
            assert np.abs(gradient - expected.numpy()).max() < 1e-4 * whole.abs().max().item()


def test_what_travels(runs):
    layers = CONFIG.n_layers
    assert runs["by hand"][0]["sent"] == {ACTIVATION: 4 * layers}
    assert runs["by hand"][0]["shapes"] == {ACTIVATION: 4 * layers * STEPS}
    assert runs["by hand"][0]["replicas_apart"] == 0 < runs["by hand"][0]["shards_apart"]
    assert runs["auto"][0]["sent"][ACTIVATION] == 7 * layers
    border = f"send 1x{CONFIG.context_length}x{CONFIG.d_model}"
    assert [r["sent"][border] for r in runs["pipeline"]] == [4, 4]
    assert sum(runs["attention"][0]["sent"].values()) == 8
    averaged = runs["averaged"][0]
    assert sum(averaged["shapes"].values()) > sum(runs["by hand"][0]["shapes"].values())
    assert averaged["shards_apart"] == 0


def test_stages_own_their_layers_and_run_1f1b(runs):
    stages = runs["pipeline"]
    assert stages[0]["parts"] == [0, 6, 11]
    assert not set(stages[0]["weights"]) & set(stages[1]["weights"])
    for stage, line in zip(stages, timeline("1F1B", 2, 4), strict=True):
        assert stage["work"] == "".join(slot.op.kind for slot in line)
        assert stage["moments"] == sum(w.size for w in stage["weights"].values())


def test_tied_copies_need_the_sum(runs):
    for name, equal in (("tied", True), ("parted", False)):
        first, last = (r["copies"] for r in runs[name])
        assert np.array_equal(first, last) == equal


def test_attention_over_a_cut_sequence(runs):
    for name in ("attention", "uneven"):
        assert max(max(r["apart"]) for r in runs[name]) < 1e-5


def test_experts_may_be_spread(runs):
    together, spread = runs["together"], runs["spread"]
    assert spread[0]["losses"] == pytest.approx(together[0]["losses"], abs=5e-6)
    assert 2 * spread[0]["expert_elements"] == together[0]["expert_elements"]
    assert sum(n for what, n in spread[0]["sent"].items() if "all_to_all" in what) == 8


def test_attempts_and_schedules(runs):
    assert runs["refused"][0]["error"] == "AssertionError"
    assert runs["plain"][0]["error"] is None and runs["plain"][0]["shape"] == [1, RANKS]
    (found,) = runs["schedules"][0]
    assert found["slots"] == [14] * 3 and found["idle"] == [4, 4, 4]
    assert found["orders"] == ["FFFBFBFBBB", "FFBFBFBFBB", "FBFBFBFBFB"]


def test_cutting_needs_heads_that_can_be_divided():
    model = small_gpt()
    with pytest.raises(ValueError, match="cannot be cut"):
        cut(model, 3, 0)
    assert cut_dim("blocks.0.attention.query.weight") == 0
    assert cut_dim("blocks.0.mlp.down.weight") == 1 and cut_dim("embedding.weight") is None


def test_tally_counts_by_name_and_shape():
    seen = [Message("send", (2, 3), 24)] * 2 + [Message("all_reduce", (), 4)]
    assert tally(seen) == {"send 2x3": 2, "all_reduce ": 1}
