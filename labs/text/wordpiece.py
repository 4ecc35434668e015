"""WordPiece: words are cut into the longest pieces that the vocabulary knows.

A piece that continues a word starts with `##`. Training follows Wu et al. (2016), sec. 4.1: add the
unit that raises the likelihood of the text most. Encoding is BERT's greedy longest match, and
its normalisation that of the uncased models: lower case, no accents, no white space. So the
text cannot be restored to the byte, and a word with an unknown character becomes [UNK].
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

PAD, UNK, CLS, SEP, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LONGEST_WORD = 100  # characters; longer words become [UNK], as in BERT's code


def _is_sign(c: str) -> bool:
    """Punctuation as BERT counts it: Unicode's, and all of ASCII that is no letter or digit."""
    return (c.isascii() and not c.isalnum()) or unicodedata.category(c).startswith("P")


def _is_cjk(c: str) -> bool:
    return (
        "\u3400" <= c <= "\u9fff" or "\uf900" <= c <= "\ufaff" or "\U00020000" <= c <= "\U0002fa1f"
    )


def split_words(text: str) -> list[str]:
    """Words and single signs in lower case, without accents; a Chinese character is a word."""
    text = unicodedata.normalize("NFD", text.lower())
    out = []
    for c in text:
        category = unicodedata.category(c)
        if c.isspace():
            out.append(" ")
        elif category == "Mn" or category.startswith("C"):
            continue  # accents and control characters
        else:
            out.append(f" {c} " if _is_sign(c) or _is_cjk(c) else c)
    return "".join(out).split()


class WordPieceTokenizer:
    """`vocab[i]` is the piece with id i. The five special tokens may stand anywhere in it."""

    def __init__(self, vocab: Sequence[str]):
        self.vocab = list(vocab)
        self.ids = {piece: i for i, piece in enumerate(self.vocab)}
        if missing := [name for name in SPECIAL if name not in self.ids]:
            raise ValueError(f"The vocabulary lacks {', '.join(missing)}.")
        self.pad, self.unk, self.cls, self.sep, self.mask = (self.ids[name] for name in SPECIAL)
        self.special_ids = [self.ids[name] for name in SPECIAL]
        self._cache: dict[str, list[int]] = {}

    @property
    def vocab_size(self) -> int:
        return len(self.vocab)

    def encode_word(self, word: str) -> list[int]:
        """Greedy longest match from the left; [UNK] for the whole word when nothing matches."""
        if word not in self._cache:
            self._cache[word] = self._match(word)
        return self._cache[word]

    def _match(self, word: str) -> list[int]:
        ids, start = [], 0
        while start < len(word) <= LONGEST_WORD:
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                piece = self.ids.get(prefix + word[start:end])
                if piece is not None:
                    break
            else:
                return [self.unk]
            ids.append(piece)
            start = end
        return ids or [self.unk]

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without [CLS] and [SEP]."""
        return [i for word in split_words(text) for i in self.encode_word(word)]

    def encode_words(self, words: Iterable[str]) -> tuple[list[int], list[int]]:
        """Ids of given words, and for each id the index of the word that it is a piece of."""
        ids, owner = [], []
        for index, word in enumerate(words):
            pieces = self.encode(word)
            ids += pieces
            owner += [index] * len(pieces)
        return ids, owner

    def frame(self, first: Sequence[int], second: Sequence[int] | None = None) -> tuple:
        """[CLS] first [SEP], or [CLS] first [SEP] second [SEP]: ids, and types 0 and 1."""
        ids = [self.cls, *first, self.sep]
        types = [0] * len(ids)
        if second is not None:
            ids += [*second, self.sep]
            types += [1] * (len(second) + 1)
        return ids, types

    def decode(self, ids: Iterable[int]) -> str:
        """The pieces as text: a space before every piece but those that continue a word."""
        return " ".join(self.vocab[int(i)] for i in ids).replace(" ##", "")

    def save(self, path: Path) -> None:
        """One piece a line, as BERT's `vocab.txt`."""
        path.write_text("\n".join(self.vocab) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> WordPieceTokenizer:
        return cls(path.read_text(encoding="utf-8").splitlines())

    @classmethod
    def train(cls, texts: Iterable[str | bytes], vocab_size: int) -> WordPieceTokenizer:
        """Learn a vocabulary of `vocab_size` pieces: special tokens, characters, then units.

        Raises ValueError when `vocab_size` does not hold special tokens and characters.
        """
        words: Counter[str] = Counter()
        for text in texts:
            text = text.decode("latin-1") if isinstance(text, bytes) else text
            words.update(split_words(text))
        characters = sorted({c for word in words for c in spell(word)})
        n_units = vocab_size - len(SPECIAL) - len(characters)
        if n_units < 0:
            raise ValueError(f"{vocab_size} entries do not hold {len(characters)} characters.")
        return cls([*SPECIAL, *characters, *learn_units(words, n_units)])


def spell(word: str) -> list[str]:
    """The characters of a word as pieces: `cat` becomes c, ##a, ##t."""
    return [c if i == 0 else f"##{c}" for i, c in enumerate(word)]


def join(pair: Sequence[str]) -> str:
    return pair[0] + pair[1].removeprefix("##")


def likelihood_gain(pairs: np.ndarray, left: np.ndarray, right: np.ndarray, total: int):
    """Rise of the text's log-likelihood (nats) when a pair becomes one unit, to first order.

    A unigram model gives the pair's `pairs` occurrences probability (left/total)·(right/total)
    before, and pairs/total after.
    """
    return pairs * np.log(pairs * total / (left * right))


def learn_units(words: dict[str, int], n_units: int) -> list[str]:
    """The `n_units` best units, one after the other; `words` maps a word to its count.

    Only words with the joined pair are counted again. Stops when no unit raises the likelihood.
    """
    spelled = [spell(word) for word in words]
    counts = list(words.values())
    pieces: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    where: defaultdict[tuple[str, str], set[int]] = defaultdict(set)

    def count(index: int, sign: int) -> None:
        word, n = spelled[index], sign * counts[index]
        for piece in word:
            pieces[piece] += n
        for pair in zip(word, word[1:], strict=False):
            pairs[pair] += n
            where[pair].add(index)

    for index in range(len(spelled)):
        count(index, +1)
    units: dict[str, None] = {}
    while len(units) < n_units:
        known = [pair for pair, n in pairs.items() if n > 1]
        if not known:
            break
        n = np.array([pairs[pair] for pair in known], dtype=np.float64)
        left = np.array([pieces[a] for a, _ in known], dtype=np.float64)
        right = np.array([pieces[b] for _, b in known], dtype=np.float64)
        gain = likelihood_gain(n, left, right, pieces.total())
        if gain.max() <= 0:
            break
        best = known[int(gain.argmax())]
        for index in sorted(where.pop(best)):
            count(index, -1)
            spelled[index] = join_all(spelled[index], best)
            count(index, +1)
        del pairs[best]
        units[join(best)] = None
    return list(units)


def join_all(word: list[str], pair: tuple[str, str]) -> list[str]:
    """Every occurrence of `pair` in `word` as one piece, from left to right."""
    out, i = [], 0
    while i < len(word):
        if tuple(word[i : i + 2]) == pair:
            out.append(join(pair))
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out
