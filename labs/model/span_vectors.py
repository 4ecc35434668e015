"""all-MiniLM-L6-v2's vectors of the first spans of every work, stored as float16.

`python -m labs.model.span_vectors` writes them to `data/measurements/span_vectors.safetensors`, in
about a minute on one core.
"""

from __future__ import annotations

from collections.abc import Sequence

from safetensors.torch import load_file, save_file
from torch import Tensor

from labs.model.minilm import load_minilm
from labs.model.pooling import sentence_vectors
from labs.text.corpus import DATA
from labs.text.pairs import Span, documents

PER_WORK, LONGEST = 64, 98  # spans of a work, tokens of a span with [CLS] and [SEP]
STORED = DATA / "measurements" / "span_vectors.safetensors"


def encode(found: Sequence[Span]) -> Tensor:
    """The vectors of spans, length 1: (n, 384) float32."""
    model, tokenizer = load_minilm()
    return sentence_vectors(model, tokenizer, [span.text for span in found], longest=LONGEST)


def load() -> dict[str, Tensor]:
    """The stored vectors: each work's first spans, (≤ PER_WORK, 384) float32."""
    return {name: x.float() for name, x in load_file(STORED).items()}


def store() -> None:
    docs = documents(per_work=PER_WORK)
    vectors = encode([span for doc in docs for span in doc])
    parts = vectors.half().split([len(doc) for doc in docs])
    save_file(
        {doc[0].work: part.contiguous() for doc, part in zip(docs, parts, strict=True)}, STORED
    )


if __name__ == "__main__":
    store()
