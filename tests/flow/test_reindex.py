"""The index built anew: nothing is lost while posts come in, nor on a failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline import engines
from pipeline.bus.base import Bus, Record
from pipeline.bus.codec import encode_annotated
from pipeline.bus.topics import POSTS_ANNOTATED
from pipeline.clock import BEIJING, WallClock
from pipeline.commands.reindexing import reindex
from pipeline.domain.post import AnnotatedPost, Counts
from pipeline.errors import EngineDown, SettingsError
from pipeline.index.base import Kept, Query
from pipeline.index.elastic_generations import Generations
from pipeline.settings import Settings
from pipeline.stages.index import IndexPosts
from pipeline.worker import Worker
from tests.engines import unique
from tests.fakes import annotated

NOW = datetime.now(UTC)


def item(number: int, **changes: object) -> AnnotatedPost:
    """A post of the last days, so that retention keeps it."""
    at = NOW - timedelta(days=3) + timedelta(seconds=60 * number)
    times = {"published_at": at, "fetched_at": at, "counted_at": at}
    return annotated(number, post_changes={**times, **changes})


def publish(bus: Bus, items: list[AnnotatedPost]) -> None:
    records = [Record("450100", encode_annotated(one, NOW)) for one in items]
    bus.publish(POSTS_ANNOTATED.name, records)


def ids(items: list[AnnotatedPost]) -> set[str]:
    return {one.post.id for one in items}


@pytest.fixture
def servers(kafka_address: str, es_url: str, tmp_path: Path) -> Iterator[Settings]:
    name = unique("r")
    settings = Settings(
        profile="distributed",
        home=tmp_path,
        kafka_servers=(kafka_address,),
        elastic_urls=(es_url,),
        database_url="postgresql://nobody@127.0.0.1:9/none",  # the desk is not touched
        prefix=name,
    )
    yield settings
    index = engines.open_index(settings)
    index.forget_everything()  # type: ignore[attr-defined]
    index.close()


def old_posts(settings: Settings) -> dict[str, Kept]:
    """Posts that no message tells of any more, some with wordings and several counts."""
    index = engines.open_index(settings)
    index.put([item(n) for n in range(1200)], NOW)
    later = NOW - timedelta(hours=1)
    changed = {"fetched_at": later, "counted_at": later, "counts": Counts(likes=9)}
    index.put([item(n, text=f"改过的{n}", **changed) for n in range(50)], NOW)
    index.mark_gone([item(n).post.id for n in range(40, 60)], NOW)
    index.refresh()
    kept = {k.item.post.id: k for k in index.kept([item(n).post.id for n in range(1200)])}
    index.close()
    assert len(kept) == 1200
    return kept


@pytest.mark.engines
def test_posts_that_come_in_meanwhile_are_all_there(servers: Settings) -> None:
    kept = old_posts(servers)
    stop, stopped = threading.Event(), threading.Event()
    sent: list[AnnotatedPost] = []
    failures: list[Exception] = []

    def come_in() -> None:
        bus = engines.open_bus(servers, WallClock())
        number = 2000
        while not stop.is_set():
            batch = [item(n) for n in range(number, number + 20)]
            publish(bus, batch)
            sent.extend(batch)
            number += 20
            time.sleep(0.05)
        bus.close()
        stopped.set()

    def index_stage() -> None:
        bus, index = engines.open_bus(servers, WallClock()), engines.open_index(servers)
        worker = Worker(
            bus,
            "index",
            [POSTS_ANNOTATED.name],
            IndexPosts(index, WallClock()),
            stage="index",
            clock=WallClock(),
        )
        try:
            while not (stopped.is_set() and bus.lag("index", [POSTS_ANNOTATED.name]) == 0):
                worker.run_once()
        except Exception as error:
            failures.append(error)
        assert not bus.dead()
        bus.close()
        index.close()

    def search() -> None:
        index = engines.open_index(servers)
        while not stop.is_set():
            if index.count(Query(until=item(1200).post.published_at)) < 1200:
                failures.append(AssertionError("a search met a gap"))
        index.close()

    threads = [threading.Thread(target=act) for act in (come_in, index_stage, search)]
    for thread in threads:
        thread.start()
    try:
        rows = [row for _ in range(2) for row in reindex(servers)]
        time.sleep(0.5)  # the stage goes on in the new generation
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert not failures
    assert {row["step"] for row in rows} >= {"kept posts", "messages", "last messages", "done"}
    index = engines.open_index(servers)
    index.refresh()
    assert {h.item.post.id for h in index.scan(Query())} == set(kept) | ids(sent)
    assert index.count(Query()) == len(kept) + len(sent), "nothing twice"
    assert {k.item.post.id: k for k in index.kept(list(kept))} == kept
    sets = index.generations  # type: ignore[attr-defined]
    assert {sets.number(name) for name in sets.everything()} == {2}
    assert sorted(sets.everything()) == sorted(sets.in_use())
    index.close()


@pytest.mark.engines
def test_a_failure_leaves_the_old_index_at_work_and_a_clean_second_run(
    servers: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = old_posts(servers)
    writer = engines.open_index(servers)

    def failing(self: Generations, number: int) -> None:
        raise EngineDown("the network went away")

    monkeypatch.setattr(Generations, "swap", failing)
    with pytest.raises(EngineDown, match="went away"):
        list(reindex(servers))
    monkeypatch.undo()
    assert writer.put([item(5000)], NOW) == 1, "writes go on in the old generation"
    writer.refresh()
    assert writer.count(Query()) == len(kept) + 1

    sets = writer.generations  # type: ignore[attr-defined]
    assert sorted(sets.everything()) == sorted(sets.in_use()), "the half-made one takes no space"
    sets.block(sets.in_use())  # as a run that was killed just before the swap leaves it
    with pytest.raises(EngineDown, match="tingfeng reindex"):
        writer.put([item(5001)], NOW)
    *_, done = reindex(servers)
    assert done["posts"] == len(kept) + 1
    assert {sets.number(name) for name in sets.everything()} == {1}
    assert writer.put([item(5001), item(5002, published_at=NOW)], NOW) == 2
    writer.refresh()
    assert writer.count(Query()) == len(kept) + 3
    writer.close()


@pytest.mark.engines
def test_what_retention_hid_stays_hidden(servers: Settings) -> None:
    """Also when retention runs during the rebuild: no day that it dropped comes back."""
    noon = (NOW - timedelta(days=3)).astimezone(BEIJING).replace(hour=12)

    def days_later(number: int, days: int, hours: int) -> AnnotatedPost:
        return item(number, published_at=noon + timedelta(days=days, hours=hours))

    index = engines.open_index(servers)
    index.put([days_later(n, n // 10, n % 10 - 5) for n in range(30)], NOW)
    index.drop_before(noon)
    assert index.count(Query()) == 25
    assert list(reindex(servers))[-1]["posts"] == 25
    late = [days_later(40, 0, -1), days_later(41, 0, 1)]
    assert index.put(late, NOW) == 2
    index.refresh()
    assert [h.item.post.id for h in index.scan(Query())][-3] == late[1].post.id
    assert index.count(Query()) == 26, "the day of the cut has its filter as before"

    rows = reindex(servers)
    while next(rows)["step"] != "messages":
        pass
    index.drop_before(noon + timedelta(days=1))
    assert list(rows)[-1]["posts"] == 15
    assert index.count(Query()) == 15
    sets = index.generations  # type: ignore[attr-defined]
    assert sorted(sets.everything()) == sorted(sets.in_use())
    index.close()


@pytest.mark.engines
def test_a_day_that_was_dropped_is_made_anew_with_its_mapping(servers: Settings) -> None:
    ours, other = engines.open_index(servers), engines.open_index(servers)
    ours.put([item(1)], NOW)
    other.drop_before(NOW - timedelta(days=1))
    assert ours.put([item(2)], NOW) == 1
    ours.refresh()
    assert [h.item.post.id for h in ours.search(Query())] == [item(2).post.id]
    client = ours._server.client  # type: ignore[attr-defined]
    for found in client.indices.get_mapping(index=f"{servers.prefix}-posts-*").values():
        assert found["mappings"]["dynamic"] == "strict"
    ours.close()
    other.close()


def test_the_embedded_index_gets_back_what_is_missing(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    bus, index = engines.open_bus(settings, WallClock()), engines.open_index(settings)
    everything = [item(n) for n in range(1300)]
    publish(bus, everything)
    bus.publish(POSTS_ANNOTATED.name, [Record("x", b"no message")])
    index.put(everything[:900], NOW)
    index.put([item(n) for n in range(3000, 3100)], NOW)  # older than what the bus keeps
    before = list(index.scan(Query()))
    rows = list(reindex(settings))
    assert rows[-1] == {"step": "done", "posts": 1400, "unreadable": 1}
    after = {hit.item.post.id: hit for hit in index.scan(Query())}
    assert all(after[hit.item.post.id] == hit for hit in before)
    assert list(reindex(settings))[-1] == rows[-1]
    bus.close()
    index.close()


def test_one_at_a_time(tmp_path: Path) -> None:
    running = reindex(Settings(home=tmp_path))
    next(running)
    with pytest.raises(SettingsError, match="another"):
        list(reindex(Settings(home=tmp_path)))
    list(running)
