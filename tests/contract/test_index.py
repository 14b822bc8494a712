"""What every index promises. One suite; ``index`` says which adapter is asked.

The reference is a plain list: each query is also answered by looking at every post.
"""

from __future__ import annotations

import random
import sqlite3
import uuid
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from nlp.text import query_tokens, search_tokens
from nlp.types import HAZARDS, KINDS, RUMOURS, SENTIMENTS, Place
from pipeline.domain.post import AnnotatedPost, Counts
from pipeline.errors import EngineDown
from pipeline.index.base import Bar, Facet, Index, Query, Step
from pipeline.index.sqlite import SqliteIndex
from tests.fakes import NIGHT, annotated

PHRASES = (
    "今晚南宁暴雨", "白沙大道积水严重", "水库泄洪是谣言", "求助 被困在车里", "停课通知什么时候发",
    "预报不准 3.5 米", "COVID-19 与天气无关", "好凉快", "青秀山起雾了 ℃", "暴雨红色预警",
)  # fmt: skip
EVERYTHING = Query()
DIVISIONS = ("450103", "450107", "450108", "450103001", "450200", "440100", "450000", "")


ADAPTERS = ("sqlite", pytest.param("elastic", marks=pytest.mark.engines))


def make_index(request: pytest.FixtureRequest, folder: Path, busy_s: float = 30.0) -> Index:
    """An empty index of the asked kind, closed and cleared away at the end."""
    if request.param == "sqlite":
        embedded = SqliteIndex(folder / "posts.db", busy_s=busy_s)
        request.addfinalizer(embedded.close)
        return embedded
    from pipeline.index.elastic import ElasticIndex

    url = request.getfixturevalue("es_url")
    prefix = f"t{uuid.uuid4().hex[:12]}"
    made = ElasticIndex([url], prefix=prefix, refresh=True)

    def clear() -> None:
        made.forget_everything()
        made.close()

    request.addfinalizer(clear)
    return made


@pytest.fixture(params=ADAPTERS)
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Index:
    return make_index(request, tmp_path, busy_s=0.05)


def stream(count: int, seed: int = 1) -> list[AnnotatedPost]:
    """Posts over three days, some at the same moment, some with times by the day."""
    dice = random.Random(seed)
    items = []
    for i in range(count):
        at = NIGHT + timedelta(seconds=dice.randrange(3 * 86_400))
        if i % 10 == 0:
            at = NIGHT.replace(hour=16) + timedelta(days=dice.randrange(3))
        text = f"{dice.choice(PHRASES)} {dice.choice(PHRASES)}"
        codes = dice.sample(DIVISIONS, dice.choice((0, 1, 1, 2)))
        items.append(
            annotated(
                i,
                post_changes={
                    "id": f"{dice.getrandbits(96):024x}",
                    "published_at": at,
                    "fetched_at": at + timedelta(minutes=dice.randrange(60)),
                    "text": text,
                    "source": dice.choice(("weibo", "weibo", "weibo", "douyin", "rss")),
                },
                kind=dice.choice(KINDS),
                sentiment=dice.choice(SENTIMENTS),
                rumour=dice.choice(RUMOURS),
                urgency=dice.choice((0, 0, 0, 1, 2, 3)),
                relevant=dice.random() < 0.7,
                hazards=tuple(dice.sample(HAZARDS, dice.choice((0, 1, 2)))),
                places=tuple(Place(code, code) for code in codes if code),
                tokens=search_tokens(text),
            )
        )
    return items


def matches(item: AnnotatedPost, query: Query) -> bool:
    post, note = item.post, item.annotation
    tokens = set(note.tokens.split(" "))
    return (
        all(word in tokens for word in query_tokens(query.words))
        and (not query.kinds or note.kind in query.kinds)
        and (not query.sentiments or note.sentiment in query.sentiments)
        and (not query.rumours or note.rumour in query.rumours)
        and note.urgency >= query.min_urgency
        and (not query.sources or post.source in query.sources)
        and (not query.hazards or bool(set(query.hazards) & set(note.hazards)))
        and (not query.adcode or any(p.adcode.startswith(query.adcode) for p in note.places))
        and (not query.relevant_only or note.relevant)
        and (query.since is None or post.published_at >= query.since)
        and (query.until is None or post.published_at < query.until)
        and (not query.ids or post.id in query.ids)
    )


def newest_first(items: list[AnnotatedPost]) -> list[AnnotatedPost]:
    return sorted(items, key=lambda i: (i.post.published_at, i.post.id), reverse=True)


def labels(item: AnnotatedPost, facet: Facet | None, query: Query = EVERYTHING) -> list[str]:
    note = item.annotation
    if facet is None:
        return [""]
    if facet == "adcode":
        counties = {p.adcode[:6] for p in note.places}
        return sorted(c for c in counties if c.startswith(query.adcode[:6]))
    if facet == "hazard":
        return list(note.hazards)
    if facet == "source":
        return [item.post.source]
    return [str(getattr(note, facet))]


QUERIES = [
    Query(),
    Query(words="暴雨"),
    Query(words="白沙大道 积水"),
    Query(words="3.5"),
    Query(words="covid-19", kinds=("talk", "help")),
    Query(words='不存在的词" OR "暴雨'),
    Query(kinds=("help",)),
    Query(kinds=("help",), rumours=("debunk",), sentiments=("neg",), min_urgency=2),
    Query(kinds=("nothing",)),
    Query(sources=("rss",)),
    Query(sources=("rss", "douyin"), sentiments=("neg",)),
    Query(sources=("unheard",)),
    Query(adcode="4501"),
    Query(adcode="45"),
    Query(adcode="450103"),
    Query(adcode="450103001"),
    Query(adcode="450"),
    Query(adcode="4"),
    Query(adcode="45010"),
    Query(adcode="x'; DROP"),
    Query(adcode="4501", kinds=("impact", "help"), relevant_only=True),
    Query(words="暴雨", adcode="4501", sources=("weibo",), hazards=("rain", "flood")),
    Query(hazards=("rain",)),
    Query(hazards=("typhoon", "fog"), min_urgency=1),
    Query(relevant_only=True),
    Query(since=NIGHT + timedelta(hours=5, minutes=12, seconds=30)),
    Query(until=NIGHT + timedelta(hours=5, minutes=12, seconds=30)),
    Query(
        since=NIGHT + timedelta(hours=5, minutes=12, seconds=30),
        until=NIGHT + timedelta(hours=40, minutes=7),
        adcode="4501",
        sentiments=("neg", "pos"),
    ),
    Query(since=NIGHT + timedelta(minutes=1), until=NIGHT + timedelta(minutes=9)),
    Query(words="暴雨", since=NIGHT + timedelta(hours=3), until=NIGHT + timedelta(hours=30)),
]  # fmt: skip
FACETS: tuple[Facet, ...] = (
    "kind", "sentiment", "rumour", "urgency", "source", "adcode", "hazard",
)  # fmt: skip
STEPS: tuple[Step, ...] = ("10min", "hour", "day")
_DAY_SHIFT = timedelta(hours=8)


def slot(at: datetime, step: Step) -> datetime:
    if step == "day":
        beijing = at + _DAY_SHIFT
        return beijing.replace(hour=0, minute=0, second=0, microsecond=0) - _DAY_SHIFT
    minute = at.minute // 10 * 10 if step == "10min" else 0
    return at.replace(minute=minute, second=0, microsecond=0)


@pytest.fixture(scope="module", params=ADAPTERS)
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Index, list[AnnotatedPost]]:
    """1,500 posts, put in two orders, some of them twice: every count must still be exact."""
    made = make_index(request, tmp_path_factory.mktemp("index"))
    items = stream(1500)
    assert made.put(items[:900], NIGHT) == 900
    assert made.put(items[600:], NIGHT) == 600
    return made, items


@pytest.mark.parametrize("query", QUERIES, ids=[str(i) for i in range(len(QUERIES))])
def test_a_query_finds_what_a_look_at_every_post_finds(
    filled: tuple[Index, list[AnnotatedPost]], query: Query
) -> None:
    index, items = filled
    expected = newest_first([item for item in items if matches(item, query)])
    got = index.search(replace(query, limit=1000))
    assert [hit.item.post.id for hit in got] == [item.post.id for item in expected][:1000]
    assert [hit.item for hit in got] == expected[:1000]
    assert index.count(query) == len(expected)
    for facet in FACETS:
        totals = Counter(label for item in expected for label in labels(item, facet, query))
        assert index.facets(query, facet) == dict(totals), facet
    for step in STEPS:
        for by in (None, "kind", "source", "adcode", "hazard"):
            bars = Counter(
                (slot(item.post.published_at, step), label)
                for item in expected
                for label in labels(item, by, query)
            )
            assert index.histogram(query, step, by) == [
                Bar(start, label, n) for (start, label), n in sorted(bars.items())
            ], (step, by)


@pytest.mark.parametrize("query", [Query(), Query(words="暴雨"), Query(adcode="4501")])
def test_pages_follow_each_other_without_gap_or_repeat(
    filled: tuple[Index, list[AnnotatedPost]], query: Query
) -> None:
    index, items = filled
    expected = [i.post.id for i in newest_first([i for i in items if matches(i, query)])]
    got: list[str] = []
    after = None
    while page := index.search(replace(query, limit=37, after=after)):
        got += [hit.item.post.id for hit in page]
        after = (page[-1].item.post.published_at, page[-1].item.post.id)
    assert got == expected


def test_facets_come_most_first(filled: tuple[Index, list[AnnotatedPost]]) -> None:
    counts = list(filled[0].facets(Query(), "source").values())
    assert counts == sorted(counts, reverse=True)


def test_some_ids_are_found_in_time_order(filled: tuple[Index, list[AnnotatedPost]]) -> None:
    index, items = filled
    some = items[10:20]
    query = Query(ids=(*(i.post.id for i in some), "f" * 24))
    assert [hit.item for hit in index.search(query)] == newest_first(some)
    assert index.count(query) == 10


def test_a_post_comes_back_exactly_as_it_was_put(index: Index) -> None:
    items = stream(20, seed=3)
    odd = annotated(7, post_changes={"published_at": NIGHT + timedelta(microseconds=123_456)})
    index.put([*items, odd], NIGHT)
    got = index.get([odd.post.id, "unknown", *(i.post.id for i in items)])
    assert list(got.values()) == [odd, *items]


def test_the_same_posts_again_change_nothing(index: Index) -> None:
    items = stream(300, seed=5)
    assert index.put(items, NIGHT) == 300
    before = _everything(index)
    assert index.put(items[::-1], NIGHT + timedelta(hours=1)) == 0
    assert index.put([items[0], items[0]], NIGHT) == 0
    assert _everything(index) == before


def _everything(index: Index) -> object:
    return (
        index.search(Query(limit=1000)),
        [index.facets(Query(), facet) for facet in FACETS],
        [index.histogram(Query(), step, "kind") for step in STEPS],
        index.newest_at(),
    )


def test_counts_grow_and_never_go_back(index: Index) -> None:
    def at(minutes: int, likes: int) -> AnnotatedPost:
        when = NIGHT + timedelta(minutes=minutes)
        changes = {"counts": Counts(likes=likes), "counted_at": when, "fetched_at": when}
        return annotated(1, post_changes=changes)

    index.put([at(10, 5)], NIGHT)
    index.put([at(30, 9)], NIGHT)
    index.put([at(20, 7)], NIGHT)
    post_id = at(10, 5).post.id
    assert index.counts_series(post_id) == [
        (NIGHT + timedelta(minutes=m), Counts(likes=n)) for m, n in ((10, 5), (20, 7), (30, 9))
    ]
    (hit,) = index.search(Query())
    assert hit.item == at(30, 9)
    assert hit.first_seen_at == NIGHT + timedelta(minutes=10)
    assert hit.versions == 1
    assert index.counts_series("unknown") == []


def test_a_changed_text_keeps_both_versions(index: Index) -> None:
    def wording(text: str, minutes: int) -> AnnotatedPost:
        changes = {"text": text, "fetched_at": NIGHT + timedelta(minutes=minutes)}
        return annotated(1, post_changes=changes, tokens=search_tokens(text))

    first, second, late = wording("大坝垮了", 1), wording("大坝没事", 9), wording("大坝裂缝", 5)
    index.put([first], NIGHT)
    index.put([second], NIGHT)
    index.put([first], NIGHT)  # redelivered: the newer wording stays
    (hit,) = index.search(Query())
    assert (hit.item, hit.versions) == (second, 2)
    index.put([late], NIGHT)
    (hit,) = index.search(Query(words="没事"))
    assert (hit.item, hit.versions) == (second, 3)
    assert index.search(Query(words="垮")) == []
    assert index.count(Query()) == 1
    assert [i.post.text for i in index.versions(first.post.id)] == [
        "大坝垮了", "大坝裂缝", "大坝没事",
    ]  # fmt: skip


def test_new_labels_move_a_post_between_the_counts(index: Index) -> None:
    before = annotated(1, kind="talk", places=(Place("450103", "青秀区"),), hazards=("rain",))
    after = annotated(1, kind="help", places=(Place("450200", "柳州市"),), hazards=("flood",))
    index.put([before, annotated(2)], NIGHT)
    assert index.put([after], NIGHT) == 0
    assert index.facets(Query(), "kind") == {"help": 1, "talk": 1}
    assert index.facets(Query(adcode="4502"), "hazard") == {"flood": 1}
    assert index.facets(Query(), "adcode") == {"450103": 1, "450200": 1}
    assert index.count(Query(adcode="4501")) == 1
    assert [b.label for b in index.histogram(Query(), "10min", "kind")] == ["help", "talk"]


def test_a_corrected_time_moves_a_post(index: Index) -> None:
    wrong = annotated(1)
    right = annotated(1, post_changes={"published_at": NIGHT - timedelta(days=2)})
    index.put([wrong, annotated(2)], NIGHT)
    index.put([right], NIGHT)
    assert [h.item for h in index.search(Query())] == [annotated(2), right]
    assert index.count(Query(until=NIGHT)) == 1
    assert len(index.counts_series(right.post.id)) == 1
    assert len(index.histogram(Query(), "day")) == 2


def test_a_vanished_post_stays_marked(index: Index) -> None:
    index.put([annotated(1), annotated(2)], NIGHT)
    index.mark_gone([annotated(1).post.id, "unknown"], NIGHT)
    index.put([annotated(1)], NIGHT)  # redelivered: it is still gone
    two, one = index.search(Query())
    assert (one.item.post.gone, two.item.post.gone) == (True, False)
    later = annotated(1, post_changes={"fetched_at": NIGHT + timedelta(hours=5)})
    index.put([later], NIGHT)
    assert not index.get([later.post.id])[later.post.id].post.gone, "it was seen again"


def test_retention_forgets_whole_posts(index: Index) -> None:
    items = stream(1300, seed=8)
    index.put(items, NIGHT)
    cut = NIGHT + timedelta(hours=30, minutes=17)
    kept = [item for item in items if item.post.published_at >= cut]
    assert index.drop_before(cut) == len(items) - len(kept)
    assert [hit.item for hit in index.search(Query(limit=1000))] == newest_first(kept)[:1000]
    assert index.count(Query()) == index.count(Query(since=cut)) == len(kept)
    for facet in FACETS:
        assert index.facets(Query(), facet) == dict(
            Counter(label for item in kept for label in labels(item, facet))
        )
    word = Query(words="暴雨")
    assert index.count(word) == sum(matches(item, word) for item in kept)
    assert index.drop_before(cut) == 0
    assert index.drop_before(NIGHT + timedelta(days=99)) == len(kept)
    assert index.histogram(Query(), "hour") == []


def test_what_one_index_kept_another_takes_in(
    index: Index, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def version(text: str, minutes: int) -> AnnotatedPost:
        when = NIGHT + timedelta(minutes=minutes)
        changes = {
            "text": text, "fetched_at": when, "counted_at": when, "counts": Counts(likes=minutes),
        }  # fmt: skip
        return annotated(1, post_changes=changes, tokens=search_tokens(text))

    source = SqliteIndex(tmp_path_factory.mktemp("source") / "posts.db")
    source.put([version("大坝垮了", 1)], NIGHT)
    source.put([version("大坝没事", 9)], NIGHT)
    source.put([version("大坝没事", 5), annotated(2), annotated(3)], NIGHT)
    source.mark_gone([annotated(3).post.id], NIGHT)
    ids = [hit.item.post.id for hit in source.scan(Query())]
    kept = source.kept([*ids, "unknown"])
    assert len(kept) == 3
    index.put([annotated(2)], NIGHT)
    index.restore(kept)
    index.restore(kept)
    assert list(index.scan(Query())) == list(source.scan(Query()))
    for post_id in ids:
        assert index.versions(post_id) == source.versions(post_id)
        assert index.counts_series(post_id) == source.counts_series(post_id)
    source.close()


def test_an_empty_index_answers(index: Index) -> None:
    assert index.search(Query(words="暴雨")) == []
    assert index.count(Query(adcode="4501")) == 0
    assert index.facets(Query(), "kind") == {}
    assert index.newest_at() is None
    assert index.put([], NIGHT) == 0
    assert index.get([]) == {}
    index.mark_gone([], NIGHT)


def test_newest_is_the_latest_fetch(index: Index) -> None:
    index.put([annotated(5), annotated(1)], NIGHT)
    assert index.newest_at() == annotated(5).post.fetched_at


@pytest.mark.parametrize("words", ["！！", '"', "*", "NEAR(暴雨", "暴雨*", "-暴雨", "tokens:暴雨"])
def test_a_persons_words_are_never_a_query_language(index: Index, words: str) -> None:
    index.put([annotated(1, tokens="今晚 暴雨")], NIGHT)
    expected = query_tokens(words) == ["暴雨"]
    assert bool(index.search(Query(words=words))) == expected
    assert index.count(Query(words=words)) == expected


def test_many_posts_of_one_moment_keep_their_order(index: Index) -> None:
    items = [annotated(i, post_changes={"published_at": NIGHT}) for i in range(700)]
    index.put(items[::2], NIGHT)
    index.put(items[1::2], NIGHT)
    assert [h.item.post.id for h in index.search(Query(limit=1000))] == [
        item.post.id for item in reversed(items)
    ]


def test_a_locked_database_says_so_and_nothing_is_half_written(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path / "posts.db", busy_s=0.05)
    index.put([annotated(1)], NIGHT)
    other = sqlite3.connect(tmp_path / "posts.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(EngineDown, match="another process holds the file"):
        index.put([annotated(2)], NIGHT)
    assert index.count(Query()) == 1, "readers go on"
    other.execute("ROLLBACK")
    other.close()
    assert index.put([annotated(2)], NIGHT) == 1
