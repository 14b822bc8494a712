"""Find many known words in a short text, fast and without a compiled library.

A text of 80 characters has 79 pairs of neighbours; looking each pair up in a set costs about
five microseconds, and only a pair that begins a known word is looked at again. Longest word wins,
matches do not overlap. Words of one character cannot be held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import add


class WordScanner:
    """A fixed set of words of two or more characters."""

    __slots__ = ("_by_pair", "_words", "_yielding")

    def __init__(self, words: Iterable[str], yielding: Iterable[str] = ()) -> None:
        """``yielding``: words that give way to another one that begins inside them (下南 to 南宁
        in 记录一下南宁)."""
        self._yielding = frozenset(yielding)
        self._words = frozenset(w for w in words if len(w) >= 2)
        by_pair: dict[str, set[int]] = {}
        for word in self._words:
            by_pair.setdefault(word[:2], set()).add(len(word))
        self._by_pair = {pair: sorted(sizes, reverse=True) for pair, sizes in by_pair.items()}

    def touches(self, text: str) -> bool:
        """Whether any word *may* be in the text (its first two characters are)."""
        return not self._by_pair.keys().isdisjoint(map(add, text, text[1:]))

    @property
    def pairs(self) -> Iterable[str]:
        """The first two characters of every word, each once."""
        return self._by_pair.keys()

    def find(
        self, text: str, most: int = 1 << 30, starts: Sequence[int] | None = None
    ) -> list[tuple[int, str]]:
        """(start, word) of the first ``most`` words in the text, the longest at each place.

        ``starts``: every place where a pair of ``pairs`` stands, in order, and perhaps others
        (see ``nlp.pairs``); without it each pair of the text is looked up.
        """
        by_pair, words = self._by_pair, self._words
        places: Iterator[tuple[int, str]]
        if starts is None:
            places = enumerate(map(add, text, text[1:]))
        else:
            places = zip(starts, [text[at : at + 2] for at in starts], strict=True)
        found: list[tuple[int, str]] = []
        free_from = 0
        gives_way = False
        for start, pair in places:
            if pair in by_pair and (start >= free_from or gives_way):
                for size in by_pair[pair]:
                    word = text[start : start + size]
                    if word in words:
                        if start < free_from:
                            if word in self._yielding:
                                continue
                            found.pop()
                        found.append((start, word))
                        free_from = start + len(word)
                        gives_way = word in self._yielding
                        break
                if len(found) >= most:
                    break
        return found
