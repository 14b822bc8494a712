"""Reading from Elasticsearch: hits, long lists and counts behind one alias."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import structlog
from elasticsearch import NotFoundError

from pipeline.errors import EngineDown
from pipeline.index.base import Bar, Facet, Hit, Query, Step
from pipeline.index.codes import at_millis, millis
from pipeline.index.elastic_query import (
    BY_ID,
    BY_TIME,
    FIELDS,
    NEWEST_FIRST,
    STEPS,
    asked,
    hit_of,
)
from pipeline.index.elastic_server import Server
from pipeline.posts_db import from_us

log = structlog.get_logger("elastic")

PAGE = 1_000
OPEN_FOR = "2m"  # a long list that nobody reads on for so long is opened anew
VALUES = 5_000  # of a field, more than China has counties: counted at once
CELLS = 5_000  # of a step and a value, per request


class Reader:
    """Questions to what an alias names. Thread-safe. Every method raises EngineDown."""

    def __init__(self, server: Server, alias: str) -> None:
        self._server, self._alias = server, alias

    def search(self, query: Query) -> list[Hit]:
        """Matching posts, newest first."""
        wanted = asked(query)
        if wanted is None:
            return []
        size = max(1, min(PAGE, query.limit))
        if query.after is None:
            return list(map(hit_of, self._older(wanted, None, size)))
        end = millis(query.after[0])
        found = self._of_moment(wanted, end, size, below=query.after[1])
        found += self._older(wanted, end, size - len(found))
        return list(map(hit_of, found))

    def scan(self, query: Query) -> Iterator[Hit]:
        """Every matching post, newest first, as of one moment.

        When that moment is lost, because a rebuild or retention dropped its indices, the list goes
        on behind its last post with what there is now: none twice, none left out that is still
        kept. (A post whose published time is corrected just then may be.)
        """
        wanted = asked(query)
        if wanted is None:
            return
        moment, after, is_new = self._open(), None, True
        try:
            while True:
                try:
                    pit = {"id": moment, "keep_alive": OPEN_FOR}
                    found = self._page(
                        wanted, after, PAGE, sort=NEWEST_FIRST, pit=pit, passing=(404,)
                    )
                except NotFoundError as error:
                    if is_new:
                        raise EngineDown(
                            "Elasticsearch loses a list as soon as it is opened; try again"
                        ) from error
                    log.info("a long list goes on in other indices", reason=error.error)
                    self._close(moment)
                    moment, is_new = self._open(), True
                    continue
                hits = found["hits"]["hits"]
                yield from map(hit_of, hits)
                if len(hits) < PAGE:
                    return
                moment, after, is_new = found["pit_id"], hits[-1]["sort"][:2], False
        finally:
            self._close(moment)

    def count(self, query: Query) -> int:
        """How many posts match."""
        wanted = asked(query)
        if wanted is None:
            return 0
        found = self._server.search(index=self._alias, query=wanted, size=0, track_total_hits=True)
        return int(found["hits"]["total"]["value"])

    def facets(self, query: Query, facet: Facet) -> dict[str, int]:
        """Posts per value, most first. A post counts in each division and hazard it names."""
        wanted = asked(query)
        if wanted is None:
            return {}
        values = self._server.search(
            index=self._alias,
            query=wanted,
            size=0,
            aggs={"values": {"terms": {"field": FIELDS[facet], "size": VALUES}}},
            track_total_hits=False,
        )["aggregations"]["values"]
        if values["sum_other_doc_count"]:  # inexact then
            found = [(label, posts) for _, label, posts in self._cells(query, None, facet)]
        else:
            found = [(str(value["key"]), value["doc_count"]) for value in values["buckets"]]
        if facet == "adcode":
            found = [pair for pair in found if pair[0].startswith(query.adcode[:6])]
        return dict(sorted(found, key=lambda pair: (-pair[1], pair[0])))

    def histogram(self, query: Query, step: Step, by: Facet | None = None) -> list[Bar]:
        """Posts per step and label, oldest first; steps without posts are left out."""
        cells = self._cells(query, step, by)
        return [Bar(at_millis(at), label, n) for at, label, n in sorted(cells)]

    def newest_at(self) -> datetime | None:
        """When the newest indexed post was fetched, None when empty."""
        found = self._server.search(
            index=self._alias,
            size=0,
            track_total_hits=False,
            aggs={"newest": {"max": {"field": "fetched"}}},
        )
        value = found["aggregations"]["newest"]["value"]
        return None if value is None else from_us(int(value))

    # ---- inside -------------------------------------------------------------------------------

    def _older(self, wanted: dict[str, Any], end: int | None, size: int) -> list[dict[str, Any]]:
        """The newest documents before a moment, newest first.

        Asked in the order of time alone: only then the server passes over days that are older than
        what it has found already. What of the last moment belongs to the page is asked apart.
        """
        if size <= 0:
            return []
        after = None if end is None else [end]
        found = self._page(wanted, after, size + 1, sort=BY_TIME, index=self._alias)["hits"]["hits"]
        found.sort(key=lambda hit: (hit["sort"][0], hit["_id"]), reverse=True)
        if len(found) <= size:
            return list(found)
        last = found[-1]["sort"][0]
        newer = [hit for hit in found if hit["sort"][0] > last]
        return newer + self._of_moment(wanted, last, size - len(newer))

    def _of_moment(
        self, wanted: dict[str, Any], at: int, size: int, *, below: str = ""
    ) -> list[dict[str, Any]]:
        """Documents of one millisecond, highest post id first; ``below``: only ids below."""
        if size <= 0:
            return []
        must: list[dict[str, Any]] = [wanted, {"range": {"at": {"gte": at, "lte": at}}}]
        if below:
            must.append({"range": {"pid": {"lt": below}}})
        here = {"bool": {"filter": must}}
        return list(self._page(here, None, size, sort=BY_ID, index=self._alias)["hits"]["hits"])

    def _page(
        self, wanted: dict[str, Any], after: list[Any] | None, size: int, **where: Any
    ) -> Any:
        return self._server.search(
            query=wanted,
            size=size,
            search_after=after,
            source={"includes": ["kept"]},
            seq_no_primary_term=True,
            track_total_hits=False,
            **where,
        )

    def _open(self) -> str:
        """A moment of the index that searches can come back to."""
        opened = self._server.call(
            self._server.client.open_point_in_time, index=self._alias, keep_alive=OPEN_FOR
        )
        return str(opened["id"])

    def _close(self, moment: str) -> None:
        with suppress(EngineDown, NotFoundError):  # the server forgets it by itself too
            self._server.call(self._server.client.close_point_in_time, passing=(404,), id=moment)

    def _cells(
        self, query: Query, step: Step | None, by: Facet | None
    ) -> Iterator[tuple[int, str, int]]:
        """``(start of the step in milliseconds, label, posts)``, exact whatever their number."""
        wanted = asked(query)
        if wanted is None:
            return
        sources: list[dict[str, Any]] = []
        if step is not None:
            interval = {"field": "at", "interval": STEPS[step]}
            sources.append({"at": {"histogram": interval}})
        if by is not None:
            sources.append({"label": {"terms": {"field": FIELDS[by]}}})
        if not sources:
            return
        after: dict[str, Any] | None = None
        while True:
            composite: dict[str, Any] = {"size": CELLS, "sources": sources}
            if after is not None:
                composite["after"] = after
            found = self._server.search(
                index=self._alias,
                size=0,
                query=wanted,
                aggs={"cells": {"composite": composite}},
                track_total_hits=False,
            )["aggregations"]["cells"]
            for bucket in found["buckets"]:
                label = str(bucket["key"].get("label", ""))
                if by != "adcode" or label.startswith(query.adcode[:6]):
                    yield int(bucket["key"].get("at", 0)), label, bucket["doc_count"]
            after = found.get("after_key")
            if after is None:
                return
