"""The index of the distributed profile: Elasticsearch 8, one index per day behind an alias.

Nothing here needs a script, an analyser of a plugin or a write by query, so that the smallest
distribution will do. Tokens are those of the embedded index, split on blanks. Retention drops whole
days; the day in which the cut falls is hidden up to it by the alias's filter until it can go too.

``elastic_server`` is the line, ``elastic_days`` the day indices, ``elastic_writer`` and
``elastic_reader`` what goes in and comes out, ``elastic_generations`` and ``elastic_rebuild`` the
index built anew.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from datetime import datetime

from pipeline.domain.post import AnnotatedPost, Counts
from pipeline.index.base import Bar, Facet, Feed, Hit, Kept, Progress, Query, Step
from pipeline.index.elastic_days import Days
from pipeline.index.elastic_generations import Generations
from pipeline.index.elastic_reader import Reader
from pipeline.index.elastic_rebuild import rebuilt
from pipeline.index.elastic_server import Server
from pipeline.index.elastic_writer import Writer


class ElasticIndex:
    """The Index of the distributed profile. Thread-safe; many processes may read and write.

    ``prefix``: of all index names. ``ca_file``: of the authority behind the servers' certificates,
    if the system does not know it. ``refresh``: every write is searchable at once, for tests;
    otherwise within ``refresh_interval``. ``timeout_s``: of one answer. Raises: EngineDown when the
    server is not there, or not version 8.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        prefix: str = "tingfeng",
        user: str = "",
        password: str = "",
        ca_file: str = "",
        shards: int = 1,
        replicas: int = 0,
        refresh: bool = False,
        timeout_s: float = 10.0,
    ) -> None:
        self._server = Server(urls, user, password, timeout_s, ca_file)
        self.generations = Generations(self._server, f"{prefix}-posts")
        settings = {
            "index": {
                "number_of_shards": shards,
                "number_of_replicas": replicas,
                "refresh_interval": "1s",
                "sort": {"field": ["at", "pid"], "order": ["desc", "desc"]},
            }
        }
        self._refresh = refresh
        self._use(Days(self._server, self.generations, settings))
        self._server.check()
        self.generations.refuse_guesses()
        self._days.adopt()

    def _use(self, days: Days) -> None:
        self._days = days
        self._writer = Writer(self._server, days, refresh=self._refresh)
        self._reader = Reader(self._server, days.alias)

    # ---- writing ------------------------------------------------------------------------------

    def put(self, items: Sequence[AnnotatedPost], now: datetime) -> int:
        """Store or refresh; returns how many were new. Raises: EngineDown, BadMessage (the server
        refuses a document; the others of the batch are stored)."""
        return self._writer.put(items)

    def restore(self, posts: Sequence[Kept]) -> None:
        """Take in what another index kept. Idempotent; what is newer here stays."""
        self._writer.restore(posts)

    def mark_gone(self, post_ids: Sequence[str], now: datetime) -> None:
        """These posts have vanished from their source; they stay, marked."""
        self._writer.mark_gone(post_ids)

    def refresh(self) -> None:
        """Make every write so far visible to searches."""
        self._writer.refresh()

    def drop_before(self, before: datetime) -> int:
        """Retention: forget posts published before; returns how many. Whole days are dropped, the
        rest of the day of the cut is hidden until it can be."""
        self.refresh()
        gone = self.count(Query(until=before))
        self.generations.cut(before)
        self._days.adopt()
        return gone

    # ---- reading ------------------------------------------------------------------------------

    def search(self, query: Query) -> list[Hit]:
        """Matching posts, newest first."""
        return self._reader.search(query)

    def scan(self, query: Query) -> Iterator[Hit]:
        """Every matching post, newest first, as of one moment: for exports and long lists."""
        return self._reader.scan(query)

    def count(self, query: Query) -> int:
        """How many posts match."""
        return self._reader.count(query)

    def facets(self, query: Query, facet: Facet) -> dict[str, int]:
        """Posts per value, most first. A post counts in each division and hazard it names."""
        return self._reader.facets(query, facet)

    def histogram(self, query: Query, step: Step, by: Facet | None = None) -> list[Bar]:
        """Posts per step and label, oldest first; steps without posts are left out."""
        return self._reader.histogram(query, step, by)

    def newest_at(self) -> datetime | None:
        """When the newest indexed post was fetched, None when empty."""
        return self._reader.newest_at()

    def get(self, post_ids: Sequence[str]) -> dict[str, AnnotatedPost]:
        """Posts by id; unknown ids are left out."""
        found = self._writer.found(post_ids)
        return {id_: found[id_].item for id_ in post_ids if id_ in found}

    def versions(self, post_id: str) -> list[AnnotatedPost]:
        """Every wording of a post, oldest fetch first."""
        found = self._writer.found([post_id])
        return list(found[post_id].all_wordings()) if found else []

    def counts_series(self, post_id: str) -> list[tuple[datetime, Counts]]:
        """How a post's counts grew, oldest first."""
        found = self._writer.found([post_id])
        return found[post_id].counts() if found else []

    def kept(self, post_ids: Sequence[str]) -> list[Kept]:
        """Posts with everything kept about them; unknown ids are left out."""
        return [stored.kept() for stored in self._writer.found(post_ids).values()]

    # ---- anew ---------------------------------------------------------------------------------

    def rebuild(self, feed: Feed) -> Iterator[Progress]:
        """A new generation of indices, while others read and write. Raises: EngineDown."""
        return rebuilt(self, feed)

    def building(self, number: int) -> ElasticIndex:
        """The same index in a new generation, which no search sees before ``swap``."""
        twin = copy.copy(self)
        twin._use(self._days.building(number))
        return twin

    def forget_everything(self) -> None:
        """Drop every index of this prefix: for tests, and for filling anew."""
        self.generations.drop(self.generations.everything())
        self.generations.forget_template()
        self._days.forget()

    def close(self) -> None:
        self._server.close()
