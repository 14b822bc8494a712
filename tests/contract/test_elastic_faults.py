"""The index server freezes, or its disk fills up: one line, posts wait, nothing is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.bus.base import Record
from pipeline.bus.codec import encode_annotated
from pipeline.bus.sqlite import SqliteBus
from pipeline.bus.topics import POSTS_ANNOTATED
from pipeline.clock import WallClock
from pipeline.domain.post import AnnotatedPost
from pipeline.errors import EngineDown
from pipeline.index.base import Index, Query
from pipeline.index.elastic import ElasticIndex
from pipeline.index.late import late_index
from pipeline.stages.index import STAGE, IndexPosts
from pipeline.worker import Worker
from scripts.engines import Engine
from tests.disks import Ballast
from tests.engines import OwnEngine
from tests.fakes import NIGHT, annotated
from tests.waiting import wait_for

pytestmark = pytest.mark.engines

DISK = "cluster.routing.allocation.disk"
SETTINGS = {
    f"{DISK}.threshold_enabled": True,
    f"{DISK}.watermark.low": "60mb",
    f"{DISK}.watermark.high": "40mb",
    f"{DISK}.watermark.flood_stage": "25mb",
    "cluster.info.update.interval": "10s",  # the shortest there is
}
LIMIT_S = 60.0


ASKS: dict[str, Callable[[Index], object]] = {
    "put": lambda index: index.put([annotated(1)], NIGHT),
    "search": lambda index: index.search(Query()),
    "list": lambda index: next(index.scan(Query())),
    "count": lambda index: index.count(Query()),
    "facets": lambda index: index.facets(Query(), "kind"),
    "newest": lambda index: index.newest_at(),
    "retention": lambda index: index.drop_before(NIGHT),
}


@pytest.fixture(scope="module")
def server(own_engine: OwnEngine) -> Engine:
    return own_engine("es", disk="200m", heap="256m", extra=SETTINGS)


def posts(day: int, count: int = 100) -> list[AnnotatedPost]:
    at = NIGHT + timedelta(days=day)
    return [
        annotated(1000 * (day + 2) + n, post_changes={"published_at": at}) for n in range(count)
    ]


def test_a_frozen_server_is_one_line_in_bounded_time(server: Engine) -> None:
    patient = ElasticIndex([server.address], prefix="frozen")
    patient.put([annotated(0)], NIGHT)
    patient.refresh()
    index = ElasticIndex([server.address], prefix="frozen", timeout_s=1.0)
    late = late_index(lambda: ElasticIndex([server.address], prefix="frozen", timeout_s=1.0))
    listed = index.scan(Query())
    assert next(listed)
    before = threading.active_count()
    server.freeze()
    try:
        for asked, questions in ((index, ASKS), (late, ("search", "count"))):
            for name in questions:
                began = time.monotonic()
                with pytest.raises(EngineDown, match=r"does not answer \(ConnectionTimeout\)"):
                    ASKS[name](asked)
                assert time.monotonic() - began < 4.0, name
        listed.close()  # type: ignore[attr-defined]
        assert threading.active_count() == before
    finally:
        server.thaw()
    assert patient.put([annotated(0), annotated(1)], NIGHT) == 1
    patient.refresh()
    assert patient.count(Query()) == 2
    assert index.put([annotated(0)], NIGHT) == 0 and late.count(Query()) == 2
    for one in (index, late, patient):
        one.close()


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[SqliteBus]:
    made = SqliteBus(tmp_path / "bus.db", clock=WallClock())
    yield made
    made.close()


def test_a_full_disk_holds_posts_back_and_loses_none(server: Engine, bus: SqliteBus) -> None:
    ballast = Ballast(server.base)
    index = ElasticIndex([server.address], prefix="full", timeout_s=5.0)
    lines: list[str] = []
    now_said = [""]

    def beat(_lag: int, note: str) -> None:
        now_said[0] = note
        if note and note not in lines:
            lines.append(note)

    topic = POSTS_ANNOTATED.name
    worker = Worker(
        bus, STAGE, [topic], IndexPosts(index, WallClock()), stage=STAGE, clock=WallClock(),
        longest_wait_s=2.0, on_beat=beat,
    )  # fmt: skip

    def publish(items: list[AnnotatedPost]) -> None:
        bus.publish(topic, [Record("450100", encode_annotated(item, NIGHT)) for item in items])

    def is_idle() -> bool:
        return bus.lag(STAGE, [topic]) == 0 and not now_said[0]

    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,), kwargs={"poll_s": 0.2})
    thread.start()
    try:
        publish([*posts(-2), *posts(0), *posts(1)])
        wait_for(is_idle, "the first posts are indexed")
        index.refresh()

        ballast.leave(20 << 20)
        client = index._server.client
        wait_for(
            lambda: "read_only_allow_delete" in str(client.indices.get_settings(index="full-*")),
            "the server takes only deletes",
        )
        publish(posts(1, 150))  # fifty new ones, in a day that there is
        publish(posts(2))  # and a day that there is not yet
        said_s = wait_for(lambda: now_said[0], "the part says why it waits")
        assert index.count(Query()) == 300
        assert [h.item for h in index.search(Query(limit=1))] == [posts(1)[-1]]
        assert index.facets(Query(), "kind") == {"talk": 300}
        with pytest.raises(EngineDown, match="disk is full"):
            index.put(posts(3), NIGHT)
        assert index.count(Query()) == 300, "a day without space is not behind the alias"
        assert index.drop_before(NIGHT) == 100, "retention still makes space"
        assert index.count(Query()) == 200
        assert len(index.get([posts(0)[0].post.id])) == 1

        ballast.leave(0)
        with pytest.raises(EngineDown, match="disk is full"):
            index.put(posts(4), NIGHT)  # it has lost even its master
        assert index.count(Query()) == 200, "searches go on"

        ballast.go()
        again_s = wait_for(is_idle, "it goes on by itself")
        wait_for(lambda: not index.refresh() and index.count(Query()) >= 350, "all are there")
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
    assert {h.item.post.id for h in index.scan(Query())} == {
        item.post.id for items in (posts(0), posts(1, 150), posts(2)) for item in items
    }
    assert not bus.dead() and worker.buried == 0
    assert lines[0].startswith("Elasticsearch's disk is full: free space on n1 is")
    assert all("disk is full" in line for line in lines) and len(lines) <= 4, lines
    print(f"said after {said_s:.1f} s, went on {again_s:.1f} s after there was space: {lines}")
    index.close()
