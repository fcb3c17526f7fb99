"""Made-up languages to measure searches on. Their words are used as unevenly as those of real languages."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

ONSETS = [*"bdfghklmnprstvwz", "br", "ch", "cl", "st", "tr", "sh"]
NUCLEI = [*"aeiou", "ai", "ea", "ou"]
ACCENTS = str.maketrans("aou", "äöü")


@dataclass(frozen=True)
class Language:
    """Words from the most to the least frequent, their cumulative weights, and what stands between two words."""

    name: str
    words: Sequence[str]
    weights: Sequence[float]
    blank: str

    def text(self, words: int, chance: random.Random) -> str:
        return self.blank.join(chance.choices(self.words, cum_weights=self.weights, k=words))


def languages() -> list[Language]:
    """The same ones in every run."""
    chance = random.Random(20261125)
    syllables = [onset + nucleus for onset in ONSETS for nucleus in NUCLEI]
    kana = [chr(code) for code in range(0x3042, 0x3090)]
    han = [chr(code) for code in chance.sample(range(0x4E00, 0x9000), 2000)]
    hangul = [chr(code) for code in chance.sample(range(0xAC00, 0xD7A4), 1000)]
    plain = _words(chance, syllables, 30_000, 1, 4)
    return [
        _language("plain", plain, " "),
        _language("accented", [word.translate(ACCENTS) for word in _words(chance, syllables, 30_000, 2, 5)], " "),
        _language("japanese", _words(chance, kana + han, 15_000, 1, 3), ""),
        _language("chinese", _words(chance, han, 15_000, 1, 2), ""),
        _language("korean", _words(chance, hangul, 15_000, 2, 4), " "),
    ]


def _words(chance: random.Random, parts: Sequence[str], count: int, shortest: int, longest: int) -> list[str]:
    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(chance.choices(parts, k=chance.randint(shortest, longest)))] = None
    return list(words)


def _language(name: str, words: Sequence[str], blank: str) -> Language:
    return Language(name, words, list(accumulate(1 / (rank + 2.7) for rank in range(len(words)))), blank)
