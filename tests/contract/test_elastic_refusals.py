"""A search server that refuses, is of another version, or is slow: one line, in bounded time."""

from __future__ import annotations

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
