"""From bytes to token ids and back: single bytes, and byte-level byte-pair encoding (BPE).

Both round-trip every byte string, so no text is ever unknown. BPE follows Sennrich et al. (2016),
sec. 3.2, on bytes instead of characters as in Radford et al. (2019), sec. 2.2.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

# Merges never cross these pieces: a word with the space before it, digits, signs, white space.
PIECES = re.compile(
    rb" ?[A-Za-z\x80-\xff]+| ?[0-9]+| ?[^\sA-Za-z0-9\x80-\xff]+|\s+(?!\S)|\s+",
    re.DOTALL,
)
END_OF_TEXT = "<|endoftext|>"


class ByteTokenizer:
    """One token per byte: ids 0 to 255, special tokens after them."""

    def __init__(self, special_tokens: Iterable[str] = (END_OF_TEXT,)):
        self.vocab: list[bytes] = [bytes([i]) for i in range(256)]
        self.special = {name: 256 + i for i, name in enumerate(special_tokens)}

    @property
    def vocab_size(self) -> int:
        return len(self.vocab) + len(self.special)

    def _encode_piece(self, piece: bytes) -> list[int]:
        return list(piece)

    def encode(self, text: str | bytes, *, allow_special: bool = False) -> list[int]:
        """Token ids of a text. Special tokens are plain text unless `allow_special` is set."""
        data = text.encode("utf-8") if isinstance(text, str) else text
        if not allow_special or not self.special:
            return self._encode_plain(data)
        names = "|".join(re.escape(name) for name in self.special)
        ids: list[int] = []
        for part in re.split(f"({names})".encode(), data):
            special_id = self.special.get(part.decode("utf-8", "replace"))
            ids += self._encode_plain(part) if special_id is None else [special_id]
        return ids

    def _encode_plain(self, data: bytes) -> list[int]:
        return [i for piece in PIECES.findall(data) for i in self._encode_piece(piece)]

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one token; a special token gives its name. Raises ValueError if unknown."""
        if 0 <= token_id < len(self.vocab):
            return self.vocab[token_id]
        for name, special_id in self.special.items():
            if special_id == token_id:
                return name.encode()
        raise ValueError(f"No token has the id {token_id}: the vocabulary has {self.vocab_size}.")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return b"".join(self.token_bytes(int(i)) for i in ids)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the ids; bytes that are not valid UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")


class BPETokenizer(ByteTokenizer):
    """Byte-level BPE: `merges[i]` joins two ids into the id `256 + i`; special tokens come last."""

    def __init__(
        self,
        merges: list[tuple[int, int]],
        special_tokens: Iterable[str] = (END_OF_TEXT,),
    ):
        super().__init__(())
        self.merges = [(int(a), int(b)) for a, b in merges]
        self.ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        for a, b in self.merges:
            self.vocab.append(self.vocab[a] + self.vocab[b])
        self.special = {name: len(self.vocab) + i for i, name in enumerate(special_tokens)}
        self._cache: dict[bytes, list[int]] = {}

    def _encode_piece(self, piece: bytes) -> list[int]:
        if piece not in self._cache:
            ids = list(piece)
            while len(ids) > 1:  # apply the earliest learned merge first, as training did
                pairs = zip(ids, ids[1:], strict=False)
                best = min(pairs, key=lambda pair: self.ranks.get(pair, len(self.ranks)))
                if best not in self.ranks:
                    break
                ids = merge(ids, best, 256 + self.ranks[best])
            self._cache[piece] = ids
        return self._cache[piece]

    @classmethod
    def train(
        cls,
        texts: Iterable[bytes],
        vocab_size: int,
        special_tokens: Iterable[str] = (END_OF_TEXT,),
    ) -> BPETokenizer:
        """Learn merges until the vocabulary, special tokens included, has `vocab_size` entries.

        Raises ValueError when `vocab_size` leaves no room for the 256 bytes. Stops early when no
        pair occurs twice. Ties are broken by the smaller pair, so training is deterministic.
        """
        special_tokens = list(special_tokens)
        n_merges = vocab_size - 256 - len(special_tokens)
        if n_merges < 0:
            raise ValueError(
                f"{vocab_size} entries do not hold the 256 bytes and the special tokens."
            )
        pieces = Counter(piece for text in texts for piece in PIECES.findall(text))
        return cls(learn_merges(pieces, n_merges), special_tokens)

    def save(self, path: Path) -> None:
        """Write merges and special tokens as JSON."""
        record = {"merges": self.merges, "special_tokens": list(self.special)}
        path.write_text(json.dumps(record, separators=(",", ":")) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> BPETokenizer:
        record = json.loads(path.read_text(encoding="utf-8"))
        return cls([tuple(pair) for pair in record["merges"]], record["special_tokens"])


def merge(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """Replace every occurrence of `pair` in `ids` by `new_id`, from left to right."""
    out, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:
            out.append(new_id)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def learn_merges(pieces: dict[bytes, int], n_merges: int) -> list[tuple[int, int]]:
    """The `n_merges` most frequent pairs, one after the other; `pieces` maps a piece to its count.

    Only the words that hold the merged pair are counted again: minutes become seconds.
    """
    words = [list(piece) for piece in pieces]
    counts = list(pieces.values())
    pair_counts: Counter[tuple[int, int]] = Counter()
    where: dict[tuple[int, int], set[int]] = defaultdict(set)
    for index, word in enumerate(words):
        for pair in zip(word, word[1:], strict=False):
            pair_counts[pair] += counts[index]
            where[pair].add(index)
    merges: list[tuple[int, int]] = []
    while len(merges) < n_merges and pair_counts:
        best = max(pair_counts, key=lambda pair: (pair_counts[pair], (-pair[0], -pair[1])))
        if pair_counts[best] < 2:
            break
        new_id = 256 + len(merges)
        merges.append(best)
        for index in where.pop(best):
            old, new = words[index], merge(words[index], best, new_id)
            for pair in zip(old, old[1:], strict=False):
                pair_counts[pair] -= counts[index]
            for pair in zip(new, new[1:], strict=False):
                pair_counts[pair] += counts[index]
                where[pair].add(index)
            words[index] = new
        pair_counts = +pair_counts  # drop pairs that no longer occur
    return merges
