"""``posts.annotated`` -> the search index."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.bus.base import Message
from pipeline.bus.codec import decode_annotated
from pipeline.clock import Clock
from pipeline.index.base import Index

STAGE = "index"


class IndexPosts:
    """The handler of the index stage. Raises BadMessage for bytes that are no annotated post."""

    def __init__(self, index: Index, clock: Clock) -> None:
        self._index = index
        self._clock = clock

    def __call__(self, messages: Sequence[Message]) -> None:
        items = [decode_annotated(message.value) for message in messages]
        self._index.put(items, self._clock.now())
