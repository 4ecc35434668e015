"""deepspeed.compression of 0.19.6 on a small model: what stays, what shrinks, what is refused."""

import pytest

from labs.ranks.launch import launch

ON = {"enabled": True, "schedule_offset": 0}


def pruning(method, modules, related=None, **params):
    group = {"params": params, "modules": modules}
    if related:
        group["related_modules"] = related
    shared = {**ON, "method": "l1"}
    return {method: {"shared_parameters": shared, "different_groups": {"group": group}}}


ROWS = pruning("row_pruning", ["wide"], [["narrow"]], dense_ratio=0.5)
SPARSE = pruning("sparse_pruning", ["wide"], dense_ratio=0.25)
RUNS = {
    "rows": {"compression": ROWS},
    "rows, no init": {"compression": ROWS, "init": False},
    "sparse": {"compression": SPARSE},
    "no ratio": {"compression": pruning("sparse_pruning", ["wide"])},
}


@pytest.fixture(scope="module")
def runs():
    """One launch of all."""
    results = launch("labs.ranks.compression", world_size=1, configs=list(RUNS.values()))
    return dict(zip(RUNS, (ranks[0] for ranks in results), strict=True))


def test_row_pruning_shrinks_both_matrices(runs):
    after = runs["rows"]["after"]
    assert after["layers.1.wide"]["shape"] == [64, 64]
    assert after["layers.1.narrow"]["shape"] == [64, 64]
    assert runs["rows"]["bytes"][1] < runs["rows"]["bytes"][0] and runs["rows"]["finite"]


def test_the_section_alone_changes_nothing(runs):
    assert runs["rows, no init"]["after"] == runs["rows, no init"]["before"]


def test_sparse_pruning_leaves_zeros_in_a_tensor_of_the_same_size(runs):
    wide = runs["sparse"]["after"]["layers.0.wide"]
    assert wide["zeros"] == pytest.approx(0.75, abs=0.01) and wide["shape"] == [128, 64]
    assert runs["sparse"]["bytes"][0] == runs["sparse"]["bytes"][1]


def test_a_refusal_is_told(runs):
    assert runs["no ratio"]["error"].startswith("AssertionError: dense_ratio must be specified")
