"""The stored trunks are what their record says, and repeat; nothing but the objective differs."""

import shutil

import pytest
import torch

from labs.text import corpus
from labs.text.plays import plain
from labs.train import trunks
from labs.train.objectives import IGNORE, Masked, Spans, causal


@pytest.fixture(scope="module")
def stored():
    return trunks.load()


def test_files_are_small_and_complete(stored):
    assert (trunks.FOLDER / "weights.safetensors").stat().st_size <= 10_000_000
    assert set(stored.models) == set(stored.losses) == set(stored.settings.runs)
    assert len(stored.models) == 15
    recipe = stored.settings.recipe
    assert all(len(c) == recipe.steps // trunks.STRIDE for c in stored.losses.values())
    positions = recipe.steps * recipe.batch_size * recipe.context_length
    assert stored.record["positions_per_run"] == positions


@pytest.mark.parametrize("name", trunks.OBJECTIVES)
def test_first_steps_repeat_the_stored_trace(stored, name):
    tokens = trunks.encode_plain(stored.tokenizer, "train")
    run = trunks.make_trainer(name, 1, tokens, stored.tokenizer, stored.settings)
    assert run.run(until=2) == pytest.approx(
        stored.record["first_losses"][f"{name}/1"][:2], abs=1e-3
    )


def test_the_text_is_plain_and_the_tokenizer_loses_nothing(stored):
    tokens = trunks.encode_plain(stored.tokenizer, "validation")
    texts = [plain(work.text) for work in corpus.split("validation")]
    decoded = stored.tokenizer.decode(tokens.tolist()).split("<|endoftext|>")
    assert decoded == ["", *texts] and all(t == t.lower() and "\n" not in t for t in texts)
    assert stored.tokenizer.vocab_size == stored.settings.config.vocab_size == 1024


def test_objectives(stored):
    made = {name: trunks.objective(name, stored.tokenizer) for name in trunks.OBJECTIVES}
    assert made["causal"] is causal and isinstance(made["spans"], Spans)
    assert isinstance(made["masked"], Masked)
    assert made["masked"] == made["shuffled"] == made["code"]
    windows = torch.randint(1000, (8, 65), generator=torch.Generator().manual_seed(0))
    for make in made.values():
        examples = make(windows, torch.Generator().manual_seed(1))
        assert examples.inputs.shape == examples.targets.shape == (8, 64)
        assert (examples.targets != IGNORE).any()
    with pytest.raises(ValueError, match="take one of causal"):
        trunks.objective("next", stored.tokenizer)


def test_runs_of_one_seed_start_from_the_same_weights(stored):
    config = stored.settings.config
    first, *others = (trunks.untrained(n, 5, config) for n in trunks.OBJECTIVES)
    assert first.config.causal and not any(o.config.causal for o in others)
    for other in others:
        for a, b in zip(first.parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b)


def test_shuffling_keeps_every_token(stored):
    tokens = torch.arange(3000) % 1000
    run = trunks.make_trainer("shuffled", 0, tokens, stored.tokenizer, stored.settings)
    assert not torch.equal(run.tokens, tokens)
    assert torch.equal(run.tokens.sort().values, tokens.sort().values)


def test_code_is_another_text_of_the_same_length(stored):
    tokens = torch.arange(3000) % 1000
    run = trunks.make_trainer("code", 0, tokens, stored.tokenizer, stored.settings)
    assert len(run.tokens) == len(tokens)
    assert "import " in stored.tokenizer.decode(run.tokens.tolist())
    plays = trunks.encode_plain(stored.tokenizer, "train")
    assert len(trunks.encode_code(stored.tokenizer, len(plays))) == len(plays)
    with pytest.raises(ValueError, match="The modules have"):
        trunks.encode_code(stored.tokenizer, 10_000_000)


def test_a_damaged_file_is_noticed(tmp_path, monkeypatch):
    shutil.copytree(trunks.FOLDER, tmp_path / "copy")
    monkeypatch.setattr(trunks, "FOLDER", tmp_path / "copy")
    (tmp_path / "copy" / "losses.csv").write_text("step\n")
    with pytest.raises(trunks.ModelError, match=r"losses\.csv is damaged"):
        trunks.load()
    (tmp_path / "copy" / "record.json").unlink()
    with pytest.raises(trunks.ModelError, match="missing"):
        trunks.load()
