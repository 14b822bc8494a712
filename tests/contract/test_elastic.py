"""What only the index server can do wrong: two writers, refusals, overload, absence."""

from __future__ import annotations

import random
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.domain.post import AnnotatedPost, Counts
from pipeline.errors import BadMessage, EngineDown
from pipeline.index import elastic_reader
from pipeline.index.base import Facet, Index, Progress, Query
from pipeline.index.elastic import ElasticIndex
from pipeline.index.sqlite import SqliteIndex
from tests.contract.test_index import DIVISIONS, FACETS, PHRASES, STEPS, newest_first, stream
from tests.fakes import NIGHT, annotated

pytestmark = pytest.mark.engines


@pytest.fixture
def index(es_url: str) -> Iterator[ElasticIndex]:
    made = ElasticIndex([es_url], prefix=f"t{uuid.uuid4().hex[:12]}", refresh=True)
    yield made
    made.forget_everything()
    made.close()


def random_query(dice: random.Random) -> Query:
    def some(values: tuple[str, ...], most: int = 2) -> tuple[str, ...]:
        return tuple(dice.sample(values, dice.randint(1, most))) if dice.random() < 0.3 else ()

    since = NIGHT + timedelta(minutes=dice.randrange(4000)) if dice.random() < 0.4 else None
    until = NIGHT + timedelta(minutes=dice.randrange(4400)) if dice.random() < 0.4 else None
    return Query(
        words=dice.choice(PHRASES) if dice.random() < 0.4 else "",
        kinds=some(("help", "talk", "impact", "service")),
        sentiments=some(("neg", "pos", "neu")),
        rumours=some(("none", "debunk", "unverified")),
        min_urgency=dice.choice((0, 0, 0, 1, 2)),
        sources=some(("weibo", "douyin", "rss", "unheard")),
        hazards=some(("rain", "flood", "typhoon")),
        adcode=dice.choice(("", "", "4501", "45", "450103", "44", "450", *DIVISIONS)),
        relevant_only=dice.random() < 0.3,
        since=since,
        until=until,
        limit=dice.choice((10, 50, 300)),
    )


def test_random_queries_give_the_same_on_both(index: ElasticIndex, tmp_path: Path) -> None:
    """20,000 posts, 150 random queries: hits in order, pages, counts, facets, histograms."""
    embedded = SqliteIndex(tmp_path / "posts.db")
    items = stream(20_000, seed=42)
    assert index.put(items, NIGHT) == embedded.put(items, NIGHT) == 20_000
    dice = random.Random(7)
    found = 0
    for _ in range(150):
        query = random_query(dice)
        ours, theirs = embedded.search(query), index.search(query)
        assert [h.item.post.id for h in theirs] == [h.item.post.id for h in ours], query
        assert theirs == ours
        found += len(ours)
        if ours:
            last = ours[-1].item.post
            rest = replace(query, after=(last.published_at, last.id))
            assert index.search(rest) == embedded.search(rest), rest
        assert index.count(query) == embedded.count(query), query
        facet: Facet = dice.choice(FACETS)
        assert index.facets(query, facet) == embedded.facets(query, facet), (query, facet)
        step = dice.choice(STEPS)
        by = dice.choice((None, *FACETS))
        assert index.histogram(query, step, by) == embedded.histogram(query, step, by), query
    assert found > 2_000, "the queries must find something"
    embedded.close()


def test_a_long_list_is_one_moment(index: ElasticIndex) -> None:
    items = stream(2_300, seed=4)
    index.put(items, NIGHT)
    listed = []
    for n, hit in enumerate(index.scan(Query())):
        listed.append(hit.item.post.id)
        if n == 10:
            index.put([annotated(9, post_changes={"published_at": NIGHT})], NIGHT)
    assert len(listed) == len(set(listed)) == 2_300
    assert index.count(Query()) == 2_301


class NoMessages:
    """A feed without news: a rebuild from what is kept."""

    last = 0

    def into(self, index: Index, step: str) -> Iterator[Progress]:
        yield Progress(step, 0)


def test_a_long_list_goes_on_when_its_indices_are_dropped(index: ElasticIndex) -> None:
    """A rebuild ends while an export is being read: none left out, none twice."""
    items = newest_first(stream(1_300, seed=4))
    index.put(items, NIGHT)
    hits = index.scan(Query())
    listed = [next(hits).item for _ in range(1000)]
    list(index.rebuild(NoMessages()))
    assert listed + [hit.item for hit in hits] == items


def test_a_long_list_ends_where_retention_has_cut(index: ElasticIndex) -> None:
    items = newest_first(stream(1_300, seed=4))
    index.put(items, NIGHT)
    hits = index.scan(Query())
    listed = [next(hits).item for _ in range(1000)]
    cut = items[1150].post.published_at
    index.drop_before(cut)
    assert listed + [hit.item for hit in hits] == [i for i in items if i.post.published_at >= cut]


def test_pages_go_on_in_the_new_indices(index: ElasticIndex) -> None:
    items = newest_first(stream(500, seed=4))
    index.put(items, NIGHT)
    listed: list[AnnotatedPost] = []
    after = None
    while page := index.search(Query(limit=100, after=after)):
        listed += [hit.item for hit in page]
        after = (listed[-1].post.published_at, listed[-1].post.id)
        if len(listed) == 200:
            list(index.rebuild(NoMessages()))
    assert listed == items


def test_a_search_has_every_shard_or_says_so(index: ElasticIndex) -> None:
    """Half of the posts would be worse than none: an officer could not tell."""
    index.put(stream(200, seed=4), NIGHT)
    alias = index.generations.alias
    index._server.client.indices.create(
        index=f"{alias}-2026.06.01",
        aliases={alias: {}},
        settings={"index.routing.allocation.require._name": "a node that is gone"},
        wait_for_active_shards="0",
    )
    for ask in (index.search, index.count, lambda query: next(index.scan(query))):
        with pytest.raises(EngineDown):
            ask(Query())


def test_a_field_with_very_many_values_is_counted_exactly(
    index: ElasticIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.put(stream(900, seed=4), NIGHT)
    before = {facet: index.facets(Query(), facet) for facet in FACETS}
    monkeypatch.setattr(elastic_reader, "VALUES", 2)
    assert {facet: index.facets(Query(), facet) for facet in FACETS} == before


def test_two_writers_lose_nothing_of_a_post(index: ElasticIndex, es_url: str) -> None:
    """Each counts its own moments of the same forty posts; the series must hold all of them."""
    other = ElasticIndex(
        [es_url], prefix=index.generations.alias.removesuffix("-posts"), refresh=True
    )

    def counted(n: int, minute: int) -> AnnotatedPost:
        when = NIGHT + timedelta(minutes=minute)
        changes = {"counts": Counts(likes=minute), "counted_at": when, "fetched_at": when}
        return annotated(n, post_changes=changes)

    def write(into: ElasticIndex, minutes: range) -> None:
        for minute in minutes:
            into.put([counted(n, minute) for n in range(40)], NIGHT)

    writers = [
        threading.Thread(target=write, args=(index, range(1, 12, 2))),
        threading.Thread(target=write, args=(other, range(2, 13, 2))),
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    other.close()
    for n in (0, 17, 39):
        series = index.counts_series(counted(n, 1).post.id)
        assert [c.likes for _, c in series] == list(range(1, 13))
    hits = index.search(Query(limit=100))
    assert len(hits) == 40
    assert {h.item.post.counts.likes for h in hits} == {12}, "an old count never wins"


def test_a_refused_document_is_named_and_the_others_are_kept(index: ElasticIndex) -> None:
    good = [annotated(n) for n in range(5)]
    bad = annotated(7, post_changes={"source": "x" * 40_000})  # a keyword may have 32,766 bytes
    with pytest.raises(BadMessage, match=bad.post.id):
        index.put([*good, bad], NIGHT)
    assert index.count(Query()) == 5
    assert index.put(good, NIGHT) == 0


def test_a_huge_batch_is_sent_in_parts(index: ElasticIndex) -> None:
    long = "暴雨" * 30_000
    items = [annotated(n, post_changes={"text": f"{n}{long}"}) for n in range(60)]
    assert index.put(items, NIGHT) == 60
    assert index.count(Query()) == 60


def test_only_known_fields_are_taken(index: ElasticIndex) -> None:
    mapping = index._server.client.indices.get_mapping(index=index.generations.alias)
    for found in mapping.values():
        assert found["mappings"]["dynamic"] == "strict"
        assert found["mappings"]["properties"]["tokens"]["analyzer"] == "whitespace"


def test_no_server_is_one_sentence_within_seconds() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(EngineDown, match="elastic_urls"):
        ElasticIndex([f"http://127.0.0.1:{port}"], timeout_s=2)
    assert time.monotonic() - began < 10


def test_a_silent_server_does_not_hold_us(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(EngineDown, match="does not answer"):
            ElasticIndex([f"http://127.0.0.1:{port}"], timeout_s=1)
