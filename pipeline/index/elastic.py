"""The index of the distributed profile: Elasticsearch 8, one index per day behind an alias.

Nothing here needs a script, an analyser of a plugin or a write by query, so that the smallest
distribution will do. Tokens are those of the embedded index, split on blanks. A post that comes
again is merged here and written back on condition that nobody wrote meanwhile (sequence number), so
a late retry never undoes what is newer. Retention drops whole days; the day in which the cut falls
is hidden up to it by the alias's filter until it can go too.
"""

from __future__ import annotations

import copy
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog
from elasticsearch import ApiError, Elasticsearch, TransportError

from nlp.text import query_tokens
from pipeline.domain.post import AnnotatedPost, Counts
from pipeline.errors import BadMessage, EngineDown
from pipeline.index.base import Bar, Facet, Feed, Hit, Kept, Progress, Query, Step
from pipeline.index.codes import area_span, at_millis, millis
from pipeline.index.elastic_docs import MAPPING, Stored, day_of
from pipeline.index.elastic_generations import EMPTY_DAY, Generations
from pipeline.index.elastic_rebuild import rebuilt
from pipeline.posts_db import from_us

log = structlog.get_logger("elastic")
T = TypeVar("T")
Line = tuple[str, dict[str, Any], dict[str, Any] | None]
"""Of a bulk request: post id, action, document."""

BATCH = 500
BULK_BYTES = 5_000_000
PAGE = 1_000
NEAR_DAYS = 7  # a post whose time was corrected is looked for so many days around
REMEMBERED = 20_000  # places of posts just written, which a search cannot see yet
TRIES = 6
FOLLOW_S = 2.0  # between looks whether a new generation of indices is in use
PAUSED_S = 0.5  # between tries while a rebuild holds writes back, for a moment
PAUSED = {"cluster_block_exception", "index_not_found_exception"}
STARTING_S = (0.1, 0.2, 0.4, 0.8, 0.0)  # pauses before a call is made again
CELLS = 5_000  # of a composite aggregation per request

_HOUR_MS = 3_600_000
_STEPS: dict[Step, int] = {"10min": _HOUR_MS // 6, "hour": _HOUR_MS, "day": 24 * _HOUR_MS}
_FIELDS: dict[Facet, str] = {
    "kind": "kind", "sentiment": "sentiment", "rumour": "rumour", "urgency": "urgency",
    "source": "source", "adcode": "counties", "hazard": "hazards",
}  # fmt: skip


class ElasticIndex:
    """The Index of the distributed profile. Thread-safe; many processes may read and write.

    ``prefix``: of all index names. ``refresh``: every write is searchable at once, for tests;
    otherwise within ``refresh_interval``. Raises: EngineDown when the server is not there, or not
    version 8.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        prefix: str = "tingfeng",
        user: str = "",
        password: str = "",
        shards: int = 1,
        replicas: int = 0,
        refresh: bool = False,
        timeout_s: float = 10.0,
    ) -> None:
        self._alias = f"{prefix}-posts"
        self._base = self._alias  # what the names of the present generation begin with
        self._looked_at = -FOLLOW_S
        self._is_paused = False  # a write was refused; cleared by the next look
        self._is_held_back = False  # the last write was refused
        self._follows = True
        self._settings = {
            "index": {
                "number_of_shards": shards,
                "number_of_replicas": replicas,
                "refresh_interval": "1s",
                "sort": {"field": ["at", "pid"], "order": ["desc", "desc"]},
            }
        }
        self._refresh = refresh
        self._known: set[str] = set()
        self._recent: OrderedDict[str, str] = OrderedDict()
        self._client = Elasticsearch(
            list(urls),
            basic_auth=(user, password) if user else None,
            request_timeout=timeout_s,
            retry_on_timeout=False,
            max_retries=0,
        )
        self.generations = Generations(self._client, self._call, self._alias)
        self._check()

    # ---- writing ------------------------------------------------------------------------------

    def put(self, items: Sequence[AnnotatedPost], now: datetime) -> int:
        """Store or refresh; returns how many were new. Raises: EngineDown, BadMessage (the server
        refuses a document; the others of the batch are stored)."""
        new = 0
        for batch in _batches(items):
            new += self._put(batch)
        return new

    def restore(self, posts: Sequence[Kept]) -> None:
        """Take in what another index kept. Idempotent; what is newer here stays."""
        waiting = {kept.item.post.id: kept for kept in posts}
        for attempt in range(TRIES):
            self._follow()
            known = self._load({id_: k.item.post.published_at for id_, k in waiting.items()})
            writes = {
                id_: known[id_].joined(kept) if id_ in known else Stored.of(kept)
                for id_, kept in waiting.items()
            }
            late = self._write(
                {i: s for i, s in writes.items() if i not in known or not s.is_as(known[i])}
            )
            if not late:
                return
            waiting = {id_: waiting[id_] for id_ in late}
            self._nap(attempt)
        raise self._given_up()

    def kept(self, post_ids: Sequence[str]) -> list[Kept]:
        """Posts with everything kept about them; unknown ids are left out."""
        found: list[Kept] = []
        for start in range(0, len(post_ids), BATCH):
            part = self._found(list(post_ids[start : start + BATCH]))
            found += [stored.kept() for stored in part.values()]
        return found

    def refresh(self) -> None:
        """Make every write so far visible to searches."""
        self._call(self._client.indices.refresh, index=self._alias)

    def _put(self, batch: dict[str, AnnotatedPost]) -> int:
        self._follow()
        stored = self._load({id_: item.post.published_at for id_, item in batch.items()})
        known = set(stored)
        waiting = batch
        for attempt in range(TRIES):
            writes = {}
            for id_, item in waiting.items():
                old = stored.get(id_)
                now = old.again(item) if old is not None else Stored.new(item)
                if old is None or not now.is_as(old):
                    writes[id_] = now
            late = self._write(writes)
            if not late:
                return len(batch) - len(known)
            waiting = {id_: waiting[id_] for id_ in late}
            self._nap(attempt)
            self._follow()
            self._call(self._client.indices.refresh, index=self._alias)
            fresh = self._load({id_: item.post.published_at for id_, item in waiting.items()})
            known |= set(fresh)
            for id_ in late:
                stored.pop(id_, None)
            stored.update(fresh)
        raise self._given_up()

    def _write(self, writes: dict[str, Stored]) -> list[str]:
        """Sends documents; returns the ids that somebody else wrote meanwhile."""
        lines: list[Line] = []
        for id_, stored in writes.items():
            index = self._day_index(stored.item.post.published_at)
            if stored.where is None or stored.where[0][:-10] != index[:-10]:
                lines.append((id_, {"create": {"_index": index, "_id": id_}}, stored.document()))
                continue
            before, seq, term = stored.where
            condition = {"if_seq_no": seq, "if_primary_term": term}
            if before == index:
                head = {"index": {"_index": index, "_id": id_, **condition}}
                lines.append((id_, head, stored.document()))
            else:  # its time was corrected: it moves to another day
                lines.append((id_, {"create": {"_index": index, "_id": id_}}, stored.document()))
                lines.append((id_, {"delete": {"_index": before, "_id": id_, **condition}}, None))
        late: list[str] = []
        for part in _parts(lines):
            late += self._bulk(part)
        return list(dict.fromkeys(late))

    def _bulk(self, lines: Sequence[Line]) -> list[str]:
        """One request; halved while the server says that it is too much."""
        operations = [part for _, head, body in lines for part in (head, body) if part is not None]
        try:
            answer = self._call(
                self._client.bulk, passing=(413, 429), operations=operations, refresh=self._refresh
            )
        except ApiError as error:
            if len(lines) == 1:
                if error.status_code == 413:
                    raise BadMessage(f"Elasticsearch: post {lines[0][0]} is too large") from error
                raise EngineDown("Elasticsearch is overloaded (429); it is tried again") from error
            time.sleep(0.1)
            middle = len(lines) // 2
            return self._bulk(lines[:middle]) + self._bulk(lines[middle:])
        self._is_held_back = False
        late: list[str] = []
        again: list[Line] = []
        refused: str = ""
        for line, result in zip(lines, answer["items"], strict=True):
            ((action, said),) = result.items()
            status = said["status"]
            if status < 300:
                if action != "delete":
                    self._remember(line[0], said["_index"])
            elif status == 409:
                late.append(line[0])
            elif status in (403, 404) and said.get("error", {}).get("type") in PAUSED:
                late.append(line[0])
                self._is_paused = self._is_held_back = True
            elif status == 429 or status >= 500:
                again.append(line)
            elif not (action == "delete" and status == 404):
                reason = said["error"]
                refused = refused or (
                    f"Elasticsearch refuses post {line[0]}: {reason['type']}: {reason['reason']}"
                )
        if refused:
            raise BadMessage(refused)
        if again:
            time.sleep(0.2)
            if len(again) == len(lines) == 1:
                raise EngineDown("Elasticsearch is overloaded; it is tried again")
            late += self._bulk(again)
        return late

    def mark_gone(self, post_ids: Sequence[str], now: datetime) -> None:
        """These posts have vanished from their source; they stay, marked."""
        for start in range(0, len(post_ids), BATCH):
            waiting = list(post_ids[start : start + BATCH])
            for attempt in range(TRIES):
                self._follow()
                found = self._found(waiting)
                gone = {
                    id_: replace(s, item=replace(s.item, post=replace(s.item.post, gone=True)))
                    for id_, s in found.items()
                }
                waiting = self._write(gone)
                if not waiting:
                    break
                self._nap(attempt)
                self._call(self._client.indices.refresh, index=self._alias)
            else:
                raise self._given_up()

    def drop_before(self, before: datetime) -> int:
        """Retention: forget posts published before; returns how many. Whole days are dropped, the
        rest of the day of the cut is hidden until it can be."""
        self._call(self._client.indices.refresh, index=self._alias)
        gone = self.count(Query(until=before))
        cut = day_of(before)
        floor = {"range": {"at": {"gte": millis(before)}}}
        changes: list[dict[str, Any]] = []
        for index in self._indices():
            day = index[-len(EMPTY_DAY) :]
            if day == EMPTY_DAY:
                continue
            if day < cut:
                changes.append({"remove_index": {"index": index}})
                self._known.discard(index)
            elif day == cut:
                change = {"index": index, "alias": self._alias, "filter": floor}
                changes.append({"add": change})
        if changes:
            self._call(self._client.indices.update_aliases, actions=changes)
        return gone

    # ---- reading ------------------------------------------------------------------------------

    def search(self, query: Query) -> list[Hit]:
        """Matching posts, newest first."""
        asked = _asked(query)
        if asked is None:
            return []
        after = None
        if query.after is not None:
            after = [millis(query.after[0]), query.after[1]]
        found = self._call(
            self._client.search,
            index=self._alias,
            query=asked,
            size=max(1, min(PAGE, query.limit)),
            sort=_ORDER,
            search_after=after,
            source={"includes": ["kept"]},
            seq_no_primary_term=True,
            track_total_hits=False,
        )
        return [_hit(hit) for hit in found["hits"]["hits"]]

    def scan(self, query: Query) -> Iterator[Hit]:
        """Every matching post, newest first, as of one moment: for exports and long lists."""
        asked = _asked(query)
        if asked is None:
            return
        opened = self._call(self._client.open_point_in_time, index=self._alias, keep_alive="2m")
        pit, after = opened["id"], None
        try:
            while True:
                found = self._call(
                    self._client.search,
                    pit={"id": pit, "keep_alive": "2m"},
                    query=asked,
                    size=PAGE,
                    sort=_ORDER,
                    search_after=after,
                    source={"includes": ["kept"]},
                    seq_no_primary_term=True,
                    track_total_hits=False,
                )
                hits = found["hits"]["hits"]
                yield from map(_hit, hits)
                if len(hits) < PAGE:
                    return
                pit, after = found["pit_id"], hits[-1]["sort"][:2]
        finally:
            self._call(self._client.close_point_in_time, id=pit)

    def count(self, query: Query) -> int:
        """How many posts match."""
        asked = _asked(query)
        if asked is None:
            return 0
        return int(self._call(self._client.count, index=self._alias, query=asked)["count"])

    def facets(self, query: Query, facet: Facet) -> dict[str, int]:
        """Posts per value, most first. A post counts in each division and hazard it names."""
        totals: Counter[str] = Counter()
        for _, label, n in self._cells(query, None, facet):
            totals[label] += n
        return dict(sorted(totals.items(), key=lambda pair: (-pair[1], pair[0])))

    def histogram(self, query: Query, step: Step, by: Facet | None = None) -> list[Bar]:
        """Posts per step and label, oldest first; steps without posts are left out."""
        cells = self._cells(query, step, by)
        return [Bar(at_millis(at), label, n) for at, label, n in sorted(cells)]

    def get(self, post_ids: Sequence[str]) -> dict[str, AnnotatedPost]:
        """Posts by id; unknown ids are left out."""
        found: dict[str, Stored] = {}
        for start in range(0, len(post_ids), BATCH):
            found |= self._found(list(post_ids[start : start + BATCH]))
        return {id_: found[id_].item for id_ in post_ids if id_ in found}

    def versions(self, post_id: str) -> list[AnnotatedPost]:
        """Every wording of a post, oldest fetch first."""
        found = self._found([post_id])
        return list(found[post_id].all_wordings()) if found else []

    def counts_series(self, post_id: str) -> list[tuple[datetime, Counts]]:
        """How a post's counts grew, oldest first."""
        found = self._found([post_id])
        return found[post_id].counts() if found else []

    def newest_at(self) -> datetime | None:
        """When the newest indexed post was fetched, None when empty."""
        found = self._call(
            self._client.search,
            index=self._alias,
            size=0,
            aggs={"newest": {"max": {"field": "fetched"}}},
        )
        value = found["aggregations"]["newest"]["value"]
        return None if value is None else from_us(int(value))

    def forget_everything(self) -> None:
        """Drop every index of this prefix: for tests, and for filling anew."""
        self.generations.drop(self.generations.everything())
        self.generations.forget_template()
        self._known.clear()

    def rebuild(self, feed: Feed) -> Iterator[Progress]:
        """A new generation of indices, while others read and write. Raises: EngineDown."""
        return rebuilt(self, feed)

    def building(self, number: int) -> ElasticIndex:
        """The same index in a new generation, which no search sees before ``swap``."""
        twin = copy.copy(self)
        twin._alias, twin._base = self.generations.building, self.generations.base(number)
        twin._known, twin._recent, twin._follows = set(), OrderedDict(), False
        twin._make(f"{twin._base}-{EMPTY_DAY}")
        return twin

    def close(self) -> None:
        self._client.close()

    # ---- inside -------------------------------------------------------------------------------

    def _cells(
        self, query: Query, step: Step | None, by: Facet | None
    ) -> Iterator[tuple[int, str, int]]:
        """``(start of the step in milliseconds, label, posts)``, exact whatever their number."""
        asked = _asked(query)
        if asked is None:
            return
        sources: list[dict[str, Any]] = []
        if step is not None:
            interval = {"field": "at", "interval": _STEPS[step]}
            sources.append({"at": {"histogram": interval}})
        if by is not None:
            sources.append({"label": {"terms": {"field": _FIELDS[by]}}})
        if not sources:
            return
        after: dict[str, Any] | None = None
        while True:
            composite: dict[str, Any] = {"size": CELLS, "sources": sources}
            if after is not None:
                composite["after"] = after
            found = self._call(
                self._client.search,
                index=self._alias,
                size=0,
                query=asked,
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

    def _load(self, wanted: dict[str, datetime]) -> dict[str, Stored]:
        """Stored documents of these posts, written a moment ago or long since.

        Asked by id in the day of the post, which sees every write; what is not there is searched
        around that day, and where this process put it.
        """
        docs = [{"_index": self._day_index(at), "_id": id_} for id_, at in wanted.items()]
        found: dict[str, Stored] = {}
        self._mget(docs, found)
        missing = [id_ for id_ in wanted if id_ not in found]
        elsewhere = [
            {"_index": self._recent[id_], "_id": id_} for id_ in missing if id_ in self._recent
        ]
        if elsewhere:
            self._mget(elsewhere, found)
            missing = [id_ for id_ in missing if id_ not in found]
        if missing:
            low = min(wanted[id_] for id_ in missing) - timedelta(days=NEAR_DAYS)
            high = max(wanted[id_] for id_ in missing) + timedelta(days=NEAR_DAYS)
            near = [i for i in self._indices() if self._name(low) <= i <= self._name(high)]
            if near:
                found |= self._found(missing, near)
        return found

    def _mget(self, docs: list[dict[str, Any]], found: dict[str, Stored]) -> None:
        answer = self._call(self._client.mget, docs=docs)
        for doc in answer["docs"]:
            if doc.get("found"):
                found[doc["_id"]] = Stored.read(doc)

    def _found(self, ids: list[str], where: list[str] | None = None) -> dict[str, Stored]:
        if not ids:
            return {}
        answer = self._call(
            self._client.search,
            index=where or self._alias,
            query={"ids": {"values": ids}},
            size=len(ids),
            source={"includes": ["kept"]},
            seq_no_primary_term=True,
            track_total_hits=False,
        )
        return {hit["_id"]: Stored.read(hit) for hit in answer["hits"]["hits"]}

    def _remember(self, id_: str, index: str) -> None:
        self._recent[id_] = index
        self._recent.move_to_end(id_)
        if len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)

    def _name(self, at: datetime) -> str:
        return f"{self._base}-{day_of(at)}"

    def _day_index(self, at: datetime) -> str:
        """The index of a post's day, made with its mapping when it is not there yet."""
        index = self._name(at)
        if index not in self._known:
            self._follow(now=True)  # a new day must not be made in a generation that has gone
            index = self._name(at)
        if index not in self._known:
            self._make(index)
        return index

    def _follow(self, *, now: bool = False) -> None:
        """Turn to a new generation when one is in use: looked for every ``FOLLOW_S``, and at once
        after a write met an index that is gone or held back."""
        if not self._follows:
            return
        if not (now or self._is_paused or time.monotonic() - self._looked_at >= FOLLOW_S):
            return
        if not self.generations.is_current(self._base):
            self._adopt()
        elif self._is_paused:
            self._known = set(self._indices())  # retention dropped a day that we knew
        self._looked_at, self._is_paused = time.monotonic(), False

    def _adopt(self) -> None:
        used = self.generations.in_use()
        self._base = self.generations.base(self.generations.newest(used))
        self._known = set(used)
        first = f"{self._base}-{EMPTY_DAY}"
        if first not in self._known:
            self._make(first)

    def _nap(self, attempt: int) -> None:
        time.sleep(PAUSED_S if self._is_paused else 0.02 * attempt)

    def _given_up(self) -> EngineDown:
        if self._is_held_back:
            return EngineDown(
                "Elasticsearch holds writes back; if no `tingfeng reindex` runs, one was "
                "interrupted: run it again"
            )
        return EngineDown("Elasticsearch: others keep writing the same posts; it is tried again")

    def _make(self, index: str) -> None:
        def make() -> None:
            try:
                self._client.indices.create(
                    index=index,
                    mappings=MAPPING,
                    settings=self._settings,
                    aliases={self._alias: {}},
                    wait_for_active_shards="1",
                )
            except ApiError as error:
                if error.error != "resource_already_exists_exception":
                    raise

        self._call(make)
        self._known.add(index)

    def _indices(self) -> list[str]:
        """Every day there is, oldest first."""
        if self._follows:
            return self.generations.in_use()
        return sorted(self._call(self._client.indices.get_alias, name=self._alias))

    def _check(self) -> None:
        """The server's version, and an alias to ask even before the first post."""
        said = self._call(self._client.nodes.info, filter_path="nodes.*.version")
        versions = {node["version"] for node in said["nodes"].values()}
        if any(not version.startswith("8.") for version in versions):
            raise EngineDown(
                f"Elasticsearch is version {', '.join(sorted(versions))}; Tingfeng needs 8.19"
            )
        self.generations.refuse_guesses()
        self._adopt()

    def _call(self, call: Callable[..., T], *, passing: Sequence[int] = (), **given: Any) -> T:
        """The call, its failures as ours. ``passing``: status codes the caller handles.

        A shard that another process made a moment ago answers 503 until it has started; that is
        waited for, a little.
        """
        for nap in STARTING_S:
            try:
                return call(**given)
            except ApiError as error:
                if error.status_code in passing:
                    raise
                if error.status_code == 503 and nap:
                    time.sleep(nap)
                    continue
                raise EngineDown(_advice(error.status_code, str(error))) from error
            except TransportError as error:
                raise EngineDown(
                    f"Elasticsearch does not answer ({type(error).__name__}); "
                    "start it, or check elastic_urls"
                ) from error
        raise AssertionError("the last nap is 0")


_ORDER = [{"at": "desc"}, {"pid": "desc"}]


def _advice(status: int, said: str) -> str:
    if status in (401, 403):
        return f"Elasticsearch refuses the account ({status}); check elastic_user and password"
    if "disk" in said or "read-only" in said or "read_only" in said:
        return f"Elasticsearch: the disk is full ({said[:200]}); free some space"
    return f"Elasticsearch: {said[:300]}"


def _hit(hit: dict[str, Any]) -> Hit:
    stored = Stored.read(hit)
    return Hit(stored.item, stored.first_seen_at, stored.versions)


def _asked(query: Query) -> dict[str, Any] | None:
    """The query in the server's words; None when nothing can match."""
    words = query_tokens(query.words) if query.words.strip() else []
    if query.words.strip() and not words:
        return None
    must: list[dict[str, Any]] = [{"term": {"tokens": word}} for word in dict.fromkeys(words)]
    for name, values in (
        ("kind", query.kinds),
        ("sentiment", query.sentiments),
        ("rumour", query.rumours),
        ("source", query.sources),
        ("hazards", query.hazards),
    ):
        if values:
            must.append({"terms": {name: list(values)}})
    if query.min_urgency > 0:
        must.append({"range": {"urgency": {"gte": query.min_urgency}}})
    if query.relevant_only:
        must.append({"term": {"relevant": True}})
    if query.adcode:
        low, high = area_span(query.adcode)
        if low > high:
            return None
        # A post holds every area above its places, in the widths that codes have.
        whole = len(query.adcode) in (2, 4, 6, 9, 12)
        must.append({"term" if whole else "prefix": {"areas": query.adcode}})
    span: dict[str, int] = {}
    if query.since is not None:
        span["gte"] = millis(query.since)
    if query.until is not None:
        span["lt"] = millis(query.until)
    if span:
        must.append({"range": {"at": span}})
    if query.ids:
        must.append({"ids": {"values": list(query.ids)}})
    return {"bool": {"filter": must}} if must else {"match_all": {}}


def _batches(items: Sequence[AnnotatedPost]) -> Iterator[dict[str, AnnotatedPost]]:
    """Batches of different posts; a post that comes twice is in two batches, in order."""
    batch: dict[str, AnnotatedPost] = {}
    for item in items:
        if item.post.id in batch or len(batch) == BATCH:
            yield batch
            batch = {}
        batch[item.post.id] = item
    if batch:
        yield batch


def _parts(
    lines: Sequence[Line],
) -> Iterator[list[Line]]:
    """Requests of at most ``BULK_BYTES``, roughly: the packed post is most of a document."""
    part: list[Line] = []
    size = 0
    for line in lines:
        body = line[2]
        bytes_ = 400 if body is None else len(body["kept"]["body"]) + 4 * len(body["tokens"]) + 600
        if part and size + bytes_ > BULK_BYTES:
            yield part
            part, size = [], 0
        part.append(line)
        size += bytes_
    if part:
        yield part
