"""The choreography of a rebuild on Elasticsearch: a new generation beside the old one.

It is filled with what the old one keeps and with all messages, and again with those that came
meanwhile. Then the old one takes no more writes (writers wait and try again), the last messages
are read, and the alias is turned over in one step; searches never see a gap. The old generation is
dropped last. A run that fails throws the half-made generation away, and one that was killed leaves
that to the next run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from pipeline.errors import EngineDown
from pipeline.index.base import Feed, Progress, Query

if TYPE_CHECKING:
    from pipeline.index.elastic import ElasticIndex

PAGE = 500
TOLD = 5_000  # posts between two words of progress
PASSES = 10  # over the messages that came meanwhile, before writes are held back
FEW = 500  # so many messages may be left for the moment in which writes wait


def rebuilt(old: ElasticIndex, tail: Feed) -> Iterator[Progress]:
    """Fill a new generation and put it in the place of the old one. Raises: EngineDown."""
    sets = old.generations
    sets.clean()
    before = sets.in_use()
    number = sets.newest(before) + 1
    try:
        new = old.building(number)
        yield from _kept_posts(old, new)
        for _ in range(PASSES):
            yield from tail.into(new, "messages")
            if tail.last <= FEW:
                break
        sets.block(sets.in_use())
        yield from tail.into(new, "last messages")
        new.refresh()
        sets.swap(number)
    except BaseException:
        with suppress(EngineDown):  # the space is wanted: a full disk may be why it failed
            sets.clean()
        raise
    # A writer may have made a day in the old generation just then. What it wrote is a message too.
    late = [index for index in sets.in_use() if sets.number(index) != number]
    sets.block(late)
    yield from tail.into(old, "after the swap")
    used = set(sets.in_use()) - set(late)
    sets.drop(index for index in sets.everything() if index not in used)


def _kept_posts(old: ElasticIndex, new: ElasticIndex) -> Iterator[Progress]:
    """What the old generation keeps, with other wordings, counts over time and first fetch."""
    total, moved = old.count(Query()), 0
    hits = old.scan(Query())
    while part := list(islice(hits, PAGE)):
        new.restore(old.kept([hit.item.post.id for hit in part]))
        moved += len(part)
        if moved % TOLD == 0:
            yield Progress("kept posts", moved, total)
    yield Progress("kept posts", moved, max(moved, total))
