"""A search server that refuses, is of another version, or is slow: one line, in bounded time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pipeline.errors import EngineDown
from pipeline.index.base import Index, Query
from pipeline.index.elastic import ElasticIndex
from pipeline.index.late import late_index
from tests.elastic_replica import ElasticReplica
from tests.fakes import NIGHT, annotated


@contextmanager
def replica(**options: Any) -> Iterator[ElasticReplica]:
    server = ElasticReplica(**options)
    try:
        yield server
    finally:
        server.close()


@pytest.mark.parametrize("version", ["7.17.28", "9.3.0"])
def test_another_major_version_is_named(version: str) -> None:
    with replica(version=version) as server:
        with pytest.raises(EngineDown, match=f"is version {version}; Tingfeng needs 8"):
            ElasticIndex([server.url])
        index = late_index(lambda: ElasticIndex([server.url]))
        for _ in range(2):
            with pytest.raises(EngineDown, match=f"is version {version}"):
                index.newest_at()
        index.close()


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_password_names_the_settings(status: int) -> None:
    with (
        replica(status=status) as server,
        pytest.raises(EngineDown, match=f"refuses the account.*{status}.*elastic_user") as caught,
    ):
        ElasticIndex([server.url], user="tingfeng", password="not the word")
    assert "not the word" not in str(caught.value)


def test_a_slow_server_is_waited_for() -> None:
    with replica() as server:
        index: Index = ElasticIndex([server.url])
        server.delay_s = 2.0
        began = time.monotonic()
        assert index.count(Query()) == 0
        assert 2.0 <= time.monotonic() - began < 8.0
        index.close()


def test_a_server_slower_than_the_limit_is_not() -> None:
    with replica() as server:
        index: Index = ElasticIndex([server.url], timeout_s=0.5)
        server.delay_s = 2.0
        began = time.monotonic()
        with pytest.raises(EngineDown, match="does not answer"):
            index.count(Query())
        assert time.monotonic() - began < 2.0
        index.close()


def test_a_late_index_is_there_when_its_server_is() -> None:
    with replica(version="7.17.28") as server:
        index = late_index(lambda: ElasticIndex([server.url]))
        with pytest.raises(EngineDown):
            index.count(Query())
        server.version = "8.19.2"
        assert index.count(Query()) == 0
        index.close()


@pytest.mark.parametrize("busy", [0, 1, 3])
def test_what_is_too_much_for_now_is_halved_and_sent_again(busy: int) -> None:
    items = [annotated(n) for n in range(16)]
    with replica() as server:
        index = ElasticIndex([server.url])
        server.busy = busy
        assert index.put(items, NIGHT) == 16
        assert sorted(server.taken) == sorted(item.post.id for item in items)
        index.close()


def test_a_server_that_stays_busy_is_left_alone() -> None:
    with replica() as server:
        index = ElasticIndex([server.url])
        server.busy = 10_000
        began = time.monotonic()
        with pytest.raises(EngineDown, match="overloaded"):
            index.put([annotated(n) for n in range(500)], NIGHT)
        assert time.monotonic() - began < 10 and 10_000 - server.busy < 20
        index.close()


@contextmanager
def silent() -> Iterator[str]:
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_an_officers_page_does_not_queue_behind_a_silent_server() -> None:
    """Twelve pages ask at once: all have their answer when the first one has."""
    before = threading.active_count()
    with silent() as url:
        index = late_index(lambda: ElasticIndex([url], timeout_s=1.0))
        lines: list[str] = []

        def ask() -> None:
            with pytest.raises(EngineDown) as caught:
                index.count(Query())
            lines.append(str(caught.value))

        pages = [threading.Thread(target=ask) for _ in range(12)]
        began = time.monotonic()
        for page in pages:
            page.start()
        for page in pages:
            page.join()
        assert time.monotonic() - began < 5.0
        assert len(lines) == 12 and len(set(lines)) == 1 and "does not answer" in lines[0]
        index.close()
    assert threading.active_count() == before
