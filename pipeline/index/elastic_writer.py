"""Writing to Elasticsearch: a post that comes again is merged, and written back on condition that
nobody wrote meanwhile (sequence number), so that a late retry never undoes what is newer."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from elasticsearch import ApiError

from pipeline.domain.post import AnnotatedPost
from pipeline.errors import BadMessage, EngineDown
from pipeline.index.base import Kept
from pipeline.index.elastic_days import Days
from pipeline.index.elastic_docs import Stored
from pipeline.index.elastic_server import STARTING_S, Server

Line = tuple[str, dict[str, Any], dict[str, Any] | None]
"""Of a bulk request: post id, action, document."""

BATCH = 2_000
BULK_BYTES = 5_000_000
NEAR_DAYS = 7  # a post whose time was corrected is looked for so many days around
REMEMBERED = 20_000  # places of posts just written, which a search cannot see yet
TRIES = 6
BUSY_S = (0.1, 0.2, 0.4, 0.8, 1.6)  # pauses before posts that were too much are sent again
PAUSED_S = 0.5  # between tries while a rebuild holds writes back, for a moment
OVERLOADED = "Elasticsearch is overloaded (429); it is tried again"
GONE = "index_not_found_exception"
PAUSED = {"cluster_block_exception", GONE}


class Writer:
    """Puts posts into the indices of their days. ``refresh``: every write is searchable at once."""

    def __init__(self, server: Server, days: Days, *, refresh: bool) -> None:
        self._server, self._days, self._refresh = server, days, refresh
        self._recent: OrderedDict[str, str] = OrderedDict()
        self._is_held_back = False  # the last write was refused

    def put(self, items: Sequence[AnnotatedPost]) -> int:
        """Store or refresh; returns how many were new. Raises: EngineDown, BadMessage."""
        return sum(self._put(batch) for batch in _batches(items))

    def restore(self, posts: Sequence[Kept]) -> None:
        """Take in what another index kept; what is newer here stays."""
        waiting = {kept.item.post.id: kept for kept in posts}
        for attempt in range(TRIES):
            self._days.follow()
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

    def mark_gone(self, post_ids: Sequence[str]) -> None:
        """These posts have vanished from their source."""
        for start in range(0, len(post_ids), BATCH):
            waiting = list(post_ids[start : start + BATCH])
            for attempt in range(TRIES):
                self._days.follow()
                found = self.found(waiting)
                gone = {
                    id_: replace(s, item=replace(s.item, post=replace(s.item.post, gone=True)))
                    for id_, s in found.items()
                }
                waiting = self._write(gone)
                if not waiting:
                    break
                self._nap(attempt)
                self.refresh()
            else:
                raise self._given_up()

    def found(self, ids: Sequence[str], where: list[str] | None = None) -> dict[str, Stored]:
        """Stored documents by id, as far as searches see them; ``where``: in these indices."""
        found: dict[str, Stored] = {}
        for start in range(0, len(ids), BATCH):
            part = list(ids[start : start + BATCH])
            answer = self._server.search(
                index=where or self._days.alias,
                query={"ids": {"values": part}},
                size=len(part),
                source={"includes": ["kept"]},
                seq_no_primary_term=True,
                track_total_hits=False,
            )
            found |= {hit["_id"]: Stored.read(hit) for hit in answer["hits"]["hits"]}
        return found

    def refresh(self) -> None:
        """Make every write so far visible to searches."""
        self._server.call(self._server.client.indices.refresh, index=self._days.alias)

    # ---- inside -------------------------------------------------------------------------------

    def _put(self, batch: dict[str, AnnotatedPost]) -> int:
        self._days.follow()
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
            self._days.follow()
            self.refresh()
            fresh = self._load({id_: item.post.published_at for id_, item in waiting.items()})
            known |= set(fresh)
            for id_ in late:
                stored.pop(id_, None)
            stored.update(fresh)
        raise self._given_up()

    def _load(self, wanted: dict[str, datetime]) -> dict[str, Stored]:
        """Stored documents of these posts, written a moment ago or long since.

        Asked by id in the day of the post, which sees every write; what is not there is searched
        around that day, and where this process put it.
        """
        found = self._by_place({id_: self._days.of(at) for id_, at in wanted.items()})
        missing = [id_ for id_ in wanted if id_ not in found]
        elsewhere = {id_: self._recent[id_] for id_ in missing if id_ in self._recent}
        if elsewhere:
            found |= self._by_place(elsewhere)
            missing = [id_ for id_ in missing if id_ not in found]
        if missing:
            around = timedelta(days=NEAR_DAYS)
            times = [wanted[id_] for id_ in missing]
            near = self._days.near(min(times) - around, max(times) + around)
            if near:
                found |= self.found(missing, near)
        return found

    def _by_place(self, places: dict[str, str]) -> dict[str, Stored]:
        docs = [{"_index": index, "_id": id_} for id_, index in places.items()]
        for nap in STARTING_S:
            answer = self._server.call(self._server.client.mget, docs=docs)["docs"]
            failed = {doc["error"]["type"] for doc in answer if "error" in doc} - {GONE}
            if not failed:
                break
            time.sleep(nap)  # a post may be there although its shard has not started
        else:
            raise EngineDown(f"Elasticsearch cannot read posts now ({failed.pop()})")
        return {doc["_id"]: Stored.read(doc) for doc in answer if doc.get("found")}

    def _write(self, writes: dict[str, Stored]) -> list[str]:
        """Sends documents; returns the ids that somebody else wrote meanwhile."""
        lines: list[Line] = []
        for id_, stored in writes.items():
            index = self._days.of(stored.item.post.published_at)
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
        """What the server is too busy for is sent again, a few times."""
        late: list[str] = []
        for nap in BUSY_S:
            lines = self._send(lines, late)
            if not lines:
                return late
            time.sleep(nap)
        raise EngineDown(OVERLOADED)

    def _send(self, lines: Sequence[Line], late: list[str]) -> list[Line]:
        """One request, halved while the server says that it is too much. Adds to ``late`` what
        somebody else wrote meanwhile or a rebuild holds back; returns what to send again."""
        operations = [part for _, head, body in lines for part in (head, body) if part is not None]
        try:
            answer = self._server.write(
                self._server.client.bulk,
                passing=(413, 429),
                operations=operations,
                refresh=self._refresh,
                timeout=self._server.patience,
            )
        except ApiError as error:
            if len(lines) == 1:
                if error.status_code == 413:
                    raise BadMessage(f"Elasticsearch: post {lines[0][0]} is too large") from error
                raise EngineDown(OVERLOADED) from error
            time.sleep(0.1)
            middle = len(lines) // 2
            return self._send(lines[:middle], late) + self._send(lines[middle:], late)
        self._is_held_back = False
        again: list[Line] = []
        refused = ""
        failed: EngineDown | None = None
        for line, result in zip(lines, answer["items"], strict=True):
            ((action, said),) = result.items()
            status, error_ = said["status"], said.get("error", {})
            if status < 300 or (action == "delete" and status == 404):
                if action != "delete":
                    self._remember(line[0], said["_index"])
            elif status == 409:
                late.append(line[0])
            elif status in (403, 404) and error_.get("type") in PAUSED:
                late.append(line[0])
                self._days.is_refused = self._is_held_back = True
            elif status == 429 and error_.get("type") not in PAUSED:
                again.append(line)
            elif status == 429 or status >= 500:
                failed = failed or self._server.cannot_write(status, error_)
            else:
                refused = refused or (
                    f"Elasticsearch refuses post {line[0]}: {error_['type']}: {error_['reason']}"
                )
        if failed is not None:
            raise failed
        if refused:
            raise BadMessage(refused)
        return again

    def _remember(self, id_: str, index: str) -> None:
        self._recent[id_] = index
        self._recent.move_to_end(id_)
        if len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)

    def _nap(self, attempt: int) -> None:
        time.sleep(PAUSED_S if self._days.is_refused else 0.02 * attempt)

    def _given_up(self) -> EngineDown:
        if self._is_held_back:
            return EngineDown(
                "Elasticsearch holds writes back; if no `tingfeng reindex` runs, one was "
                "interrupted: run it again"
            )
        return EngineDown("Elasticsearch: others keep writing the same posts; it is tried again")


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


def _parts(lines: Sequence[Line]) -> Iterator[list[Line]]:
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
