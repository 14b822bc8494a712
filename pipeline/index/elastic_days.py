"""The day indices behind an alias: which one a post belongs to, made with its mapping when needed.

A rebuild puts another generation in their place while writers work, so a writer looks from time
to time which one is in use, and at once after a refusal.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from elasticsearch import ApiError

from pipeline.errors import EngineDown
from pipeline.index.elastic_docs import MAPPING, day_of
from pipeline.index.elastic_generations import EMPTY_DAY, Generations
from pipeline.index.elastic_server import Server

TRIES = 3
FOLLOW_S = 2.0  # between looks whether a new generation of indices is in use


class Days:
    """The days of the generation in use, or of the one that is being built.

    ``settings``: of every new index. Every method that asks the server raises EngineDown.
    """

    def __init__(
        self, server: Server, generations: Generations, settings: Mapping[str, Any]
    ) -> None:
        self.alias = generations.alias
        self._server, self._generations, self._settings = server, generations, settings
        self._base = self.alias  # what the names of the present generation begin with
        self._known: set[str] = set()
        self._looked_at = -FOLLOW_S
        self._follows = True
        self.is_refused = False  # a write met an index that is gone or held back

    def building(self, number: int) -> Days:
        """Those of a new generation, which no search sees before it is in use."""
        days = Days(self._server, self._generations, self._settings)
        days.alias, days._base = self._generations.building, self._generations.base(number)
        days._follows = False
        days._make(days._first)
        return days

    def name(self, at: datetime) -> str:
        """What the index of a post published then is called."""
        return f"{self._base}-{day_of(at)}"

    def of(self, at: datetime) -> str:
        """The same; it is made when it is not there yet."""
        index = self.name(at)
        if index in self._known:
            return index
        for _ in range(TRIES):
            self.follow(now=True)  # a new day must not be made in a generation that has gone
            index = self.name(at)
            if index in self._known or self._make(index):
                return index
        raise EngineDown("Elasticsearch: the index is built anew again and again; try later")

    def all(self) -> list[str]:
        """Every day there is, oldest first."""
        if self._follows:
            return self._generations.in_use()
        return sorted(self._server.call(self._server.client.indices.get_alias, name=self.alias))

    def near(self, low: datetime, high: datetime) -> list[str]:
        """The days there are between two moments."""
        first, last = self.name(low), self.name(high)
        return [index for index in self.all() if first <= index <= last]

    def follow(self, *, now: bool = False) -> None:
        """Turn to the generation in use: looked for every ``FOLLOW_S``, at once when asked to or
        after a refusal."""
        if not self._follows:
            return
        if not (now or self.is_refused or time.monotonic() - self._looked_at >= FOLLOW_S):
            return
        if not self._generations.is_current(self._base):
            self.adopt()
        elif self.is_refused:
            self._known = set(self.all())  # retention dropped a day that we knew
        self._looked_at, self.is_refused = time.monotonic(), False

    def adopt(self) -> None:
        """Learn what there is; the first time this makes the empty day and so the alias."""
        used = self._generations.in_use()
        self._base = self._generations.base(self._generations.newest(used))
        self._known = set(used)
        if self._first not in self._known:
            self._make(self._first)

    def forget(self) -> None:
        """Somebody dropped them."""
        self._known.clear()

    @property
    def _first(self) -> str:
        return f"{self._base}-{EMPTY_DAY}"

    def _make(self, index: str) -> bool:
        """False when another generation took over meanwhile, which has no place for it.

        Behind the alias comes only what can be read: an index that waits for space on a disk
        would make every search fail.
        """
        client = self._server.client
        try:
            made = self._server.write(
                client.indices.create,
                passing=(400,),
                index=index,
                mappings=MAPPING,
                settings=self._settings,
                wait_for_active_shards="1",
                timeout=self._server.patience,
            )
            is_ready = made["shards_acknowledged"]
        except ApiError as error:
            if error.error != "resource_already_exists_exception":
                raise EngineDown(f"Elasticsearch makes no index: {str(error)[:300]}") from error
            is_ready = False
        if not is_ready:  # another process is making it, or a disk is full
            self._server.write(
                client.cluster.health,
                index=index,
                wait_for_status="yellow",
                wait_for_active_shards="1",  # a new index is called yellow before it has started
                timeout=self._server.patience,
            )
        self._server.write(client.indices.put_alias, index=index, name=self.alias)
        if self._follows and not self._generations.is_current(self._base):
            self._generations.drop([index])  # still empty: whoever makes it looks here first
            return False
        self._known.add(index)
        return True
