"""The stored models load, are what their records say, and are worth looking at."""

import json
import shutil

import pytest
import torch

from labs.model.ngram import NGram
from labs.text import corpus
from labs.text.tokenizers import ByteTokenizer
from labs.train import pretrained
from labs.train.masked import MaskedTrainer, evaluate_masked
from labs.train.training import Loss, Trainer, evaluate

NAME = "shakespeare-gpt"


@pytest.fixture(scope="module")
def stored():
    return pretrained.load(NAME)


def test_files_are_small_and_complete(stored):
    folder = pretrained.MODELS / NAME
    assert (folder / "weights.safetensors").stat().st_size <= 10_000_000
    assert len(stored.losses) == stored.recipe.steps
    assert {"date", "machine", "held_out", "sha256"} <= stored.record.keys()
    recipe = stored.recipe
    seen = recipe.steps * recipe.batch_size * recipe.context_length
    assert stored.record["tokens_seen"] == seen


def test_first_steps_repeat_the_stored_trace(stored):
    config, recipe = pretrained.read_config(NAME)
    tokens, _ = pretrained.encode_split(stored.tokenizer, "train")
    trainer = Trainer(pretrained.build(config, recipe), tokens, recipe)
    assert trainer.run(until=3) == pytest.approx(stored.losses[:3], abs=1e-3)


@pytest.fixture(scope="module")
def stored_bert():
    return pretrained.load("shakespeare-bert")


def test_the_encoder_is_small_complete_and_repeats_its_first_steps(stored_bert):
    folder = pretrained.MODELS / "shakespeare-bert"
    assert (folder / "weights.safetensors").stat().st_size <= 10_000_000
    recipe, words = stored_bert.recipe, stored_bert.tokenizer
    assert len(stored_bert.losses) == recipe.steps
    config, _ = pretrained.read_config("shakespeare-bert")
    assert words.vocab_size == config.vocab_size
    tokens, _ = pretrained.encode_split(words, "train")
    trainer = MaskedTrainer(pretrained.build(config, recipe), tokens, recipe, words)
    assert trainer.run(until=3) == pytest.approx(stored_bert.losses[:3], abs=1e-3)


def test_the_encoder_beats_single_pieces_and_uses_order(stored_bert):
    """Against the entropy of the held-out pieces themselves, and against shuffled context."""
    words = stored_bert.tokenizer
    tokens, _ = pretrained.encode_split(words, "validation")
    length = stored_bert.recipe.context_length
    loss = evaluate_masked(stored_bert.model, tokens, words, length)
    recorded = stored_bert.record["held_out"]["validation"]
    assert loss.nats_per_token == pytest.approx(recorded["nats_per_masked_token"], abs=5e-3)
    share = torch.bincount(tokens).double() / len(tokens)
    entropy = -torch.xlogy(share, share).sum().item()
    assert loss.nats_per_token < entropy - 1
    order = torch.randperm(20_000, generator=torch.Generator().manual_seed(0))
    shuffled = evaluate_masked(stored_bert.model, tokens[order], words, length)
    assert shuffled.nats_per_token > loss.nats_per_token + 1


def test_it_beats_smoothed_5_grams_clearly(stored):
    """On the validation works, in bits per byte, against 5-grams of bytes and of the same BPE."""
    tokens, n_bytes = pretrained.encode_split(stored.tokenizer, "validation")
    neural = evaluate(stored.model, tokens, n_bytes, stored.recipe.context_length)
    recorded = stored.record["held_out"]["validation"]["bits_per_byte"]
    assert neural.bits_per_byte == pytest.approx(recorded, abs=2e-3)
    for tokenizer in (stored.tokenizer, ByteTokenizer()):
        train, _ = pretrained.encode_split(tokenizer, "train")
        held_out, _ = pretrained.encode_split(tokenizer, "validation")
        counts = NGram(train, tokenizer.vocab_size, order=5)
        n_gram = Loss(counts.nats(held_out), len(held_out) - 4, n_bytes).bits_per_byte
        assert 1.0 < n_gram < 3.0  # a baseline that works: neither broken nor trained on the answer
        assert neural.bits_per_byte < 0.93 * n_gram


def test_it_uses_its_context(stored):
    """Loss falls with the number of tokens before: 256 of them are clearly better than 16."""
    tokens, _ = pretrained.encode_split(stored.tokenizer, "test")
    short = evaluate(stored.model, tokens[:20_000], 1, 16, stride=8).nats_per_token
    long = evaluate(stored.model, tokens[:20_000], 1, 256, stride=128).nats_per_token
    assert long < short - 0.1


def test_a_damaged_or_missing_file_is_named(tmp_path, monkeypatch):
    shutil.copytree(
        pretrained.MODELS / NAME, tmp_path / NAME, ignore=shutil.ignore_patterns("checkpoint")
    )
    monkeypatch.setattr(pretrained, "MODELS", tmp_path)
    weights = tmp_path / NAME / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(pretrained.ModelError, match=r"weights\.safetensors is damaged"):
        pretrained.load(NAME)
    weights.unlink()
    with pytest.raises(pretrained.ModelError, match=r"has no weights\.safetensors"):
        pretrained.load(NAME)
    with pytest.raises(pretrained.ModelError, match="there are shakespeare-gpt"):
        pretrained.load("gpt-5")


def test_an_interrupted_training_resumes(tmp_path, monkeypatch):
    """`train` writes a folder that loads; a second call continues from the checkpoint."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    model = {"vocab_size": 300, "context_length": 32, "n_layers": 1, "n_heads": 2, "d_model": 16}
    recipe = {"steps": 101, "batch_size": 2, "lr": 0.01, "warmup": 5}
    (folder / "config.yml").write_text(json.dumps({"model": model, "recipe": recipe}))
    monkeypatch.setattr(pretrained, "MODELS", tmp_path)
    little = corpus.Document("little", corpus.document("sonnets").data[:20_000], "train")
    monkeypatch.setattr(corpus, "split", lambda name: (little,))
    pretrained.train("tiny")
    first = pretrained.load("tiny")
    assert len(first.losses) == 101 and (folder / "checkpoint" / "last.pt").exists()
    pretrained.train("tiny")  # only the step after the checkpoint is run again
    again = pretrained.load("tiny")
    assert again.losses == first.losses
    for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)
