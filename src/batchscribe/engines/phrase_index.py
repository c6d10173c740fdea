"""Finds the phrases of a vocabulary that sound or are spelt like what was recognised, at a cost that stays small.

A phrase is looked for by the few letters in a row that it shares with a stretch of text, the rarest first, and only so
many phrases are looked at closely: thousands cost half as much again as none, not a thousand times as much.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

#: Spellings of one sound, told apart by no ear; applied in this order to Latin letters.
_SOUNDS = tuple(
    (re.compile(pattern), sound)
    for pattern, sound in (
        (r"tch|tsch", "ch"),
        (r"sch", "sh"),
        (r"ph", "f"),
        (r"ck|qu?|c(?=[aoulrt]|$)|ch(?=[rl])", "k"),
        (r"c(?=[eiy])|z|ß", "s"),
        (r"x", "ks"),
        (r"\bkn", "n"),
        (r"\bwr", "r"),
        (r"w", "v"),
        (r"[yj]", "i"),
        (r"(?<![cs])h", ""),
        (r"ee|ea|ie|ei", "i"),
        (r"oo|ou", "u"),
        (r"ai|ay|ae", "e"),
        (r"au|aw|oa", "o"),
    )
)
_HAN = re.compile(r"[\u3400-\u9fff]")
_VOWELS = re.compile(r"(?!^)[aeiou]")
_DOUBLED = re.compile(r"(.)\1+")
#: Katakana and the hiragana of the same sounds are so far apart in Unicode.
_KATAKANA = {code: code - 0x60 for code in range(0x30A1, 0x30F7)}
#: Letters in a row are followed to so many phrases in all, and so many phrases are looked at closely.
_MOST_FOLLOWED = 400
_MOST_CLOSE = 24
#: A text of more sounds must share more than one of them with a phrase.
_SHORT_SOUNDS = 3


@dataclass(frozen=True, slots=True)
class Sounded:
    """A text as it sounds, about: without capitals, accents and spaces, one letter for one sound."""

    #: Its letters as they are written.
    letters: str
    sounds: str
    #: The sounds without vowels, but for one at the start.
    consonants: str


@dataclass(frozen=True, slots=True, order=True)
class Alike:
    """A phrase by its number, and how alike it is, from 0 to 1."""

    likeness: float
    phrase: int


def sounded(text: str) -> Sounded:
    """Return how a text sounds, about, in any script; one sound in several spellings is known in Latin letters.

    Chinese characters sound as in Mandarin, wherever they stand.
    """
    whole = unicodedata.normalize("NFKD", text).casefold().translate(_KATAKANA)
    words = ["".join(filter(str.isalnum, word)) for word in whole.split()]
    letters = sounds = "".join(words)
    if _HAN.search(letters):
        sounds = _in_pinyin(letters)
    if sounds.isascii() or any("a" <= letter <= "z" for letter in sounds):
        for pattern, sound in _SOUNDS:
            sounds = pattern.sub(sound, sounds)
    sounds = _DOUBLED.sub(r"\1", sounds)
    return Sounded(letters, sounds, _DOUBLED.sub(r"\1", _VOWELS.sub("", sounds)))


def _in_pinyin(letters: str) -> str:
    """Return Chinese characters as they are said in Mandarin, without tones; other letters as they are."""
    from pypinyin import lazy_pinyin

    return "".join(lazy_pinyin(letters)).replace("\u00fc", "v")


class PhraseIndex:
    """The phrases of one vocabulary, to be searched by what they sound like."""

    def __init__(self, phrases: tuple[str, ...]) -> None:
        """Index phrases, in a time that grows with their letters."""
        self.phrases = phrases
        self._sounded = [sounded(phrase) for phrase in phrases]
        #: The most letters that a phrase has.
        self.longest = max((len(each.letters) for each in self._sounded), default=0)
        self._having: dict[str, list[int]] = defaultdict(list)
        self._sounding: dict[str, list[int]] = defaultdict(list)
        for number, each in enumerate(self._sounded):
            self._sounding[each.sounds].append(number)
            for part in _parts(each):
                self._having[part].append(number)

    def alike(self, text: str, *, least: float) -> list[Alike]:
        """Return the phrases that are at least so alike to a text, the most alike first."""
        wanted = sounded(text)
        if not wanted.letters:
            return []
        shared: Counter[int] = Counter()
        followed = 0
        # In one order in every process, or the same window might read differently in two of them.
        known = [part for part in sorted(_parts(wanted)) if part in self._having]
        for numbers in sorted((self._having[part] for part in known), key=len):
            followed += len(numbers)
            if followed > _MOST_FOLLOWED:
                break
            shared.update(numbers)
        least_shared = 2 if len(wanted.sounds) > _SHORT_SOUNDS else 1
        close = sorted(
            (number for number, count in shared.items() if count >= least_shared),
            key=lambda number: (-self._overlap(number, shared[number], wanted), number),
        )[:_MOST_CLOSE]
        same = self._sounding.get(wanted.sounds, [])[:_MOST_CLOSE]
        found = [Alike(_likeness(wanted, self._sounded[number]), number) for number in {*same, *close}]
        return sorted(
            (each for each in found if each.likeness >= least), key=lambda each: (-each.likeness, each.phrase)
        )

    def _overlap(self, number: int, shared: int, wanted: Sounded) -> float:
        """Return about which share of what both have a phrase and a text have in common."""
        return shared / (len(self._sounded[number].sounds) + len(wanted.sounds))


def _parts(text: Sounded) -> set[str]:
    """Return the pairs and triples of neighbours by which a text is found; single signs too where one is a syllable."""
    sounds, consonants = f"^{text.sounds}$", f"^{text.consonants}$"
    parts = {sounds[i : i + size] for size in (2, 3) for i in range(len(sounds) - size + 1)}
    parts |= {f"-{consonants[i : i + 2]}" for i in range(len(consonants) - 1)}
    return parts | {sign for sign in text.letters if sign > "\u2e80"}


def _likeness(one: Sounded, other: Sounded) -> float:
    """Return how alike two texts are: 1 for the same letters, less for the same sounds, by edits for the rest."""
    if one.letters == other.letters:
        return 1.0
    spelt = Levenshtein.normalized_similarity(one.letters, other.letters)
    sounds = Levenshtein.normalized_similarity(one.sounds, other.sounds)
    consonants = Levenshtein.normalized_similarity(one.consonants, other.consonants)
    return 0.99 * max(spelt, 0.5 * sounds + 0.5 * consonants)
