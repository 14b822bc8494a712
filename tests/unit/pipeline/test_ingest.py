"""The door: what comes in, what leaves, what is refused."""

from __future__ import annotations

import base64
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.bus.codec import decode_post
from pipeline.bus.sqlite import SqliteBus
from pipeline.bus.topics import POSTS_RAW
from pipeline.domain.post import Counts, Media, Post, Unreadable, hash_author, post_id
from pipeline.errors import EngineDown
from pipeline.stages.ingest import Ingest, IngestResult, canonical_url, clean
from pipeline.store.seen import Seen
from tests.fakes import NIGHT, HandClock, fetched

KEY = b"k" * 32


def seal(contacts: str) -> str:
    return base64.b64encode(contacts.encode()).decode()


class Door:
    """An ingest with its bus, and a look at what it published."""

    def __init__(self, folder: Path) -> None:
        self.clock = HandClock()
        self.bus = SqliteBus(folder / "posts.db", clock=self.clock, busy_s=0.05)
        self.seen = Seen(folder / "posts.db")
        self.ingest = Ingest(self.bus, self.seen, author_key=KEY, seal=seal, clock=self.clock)
        self.accept = self.ingest.accept

    def published(self) -> list[Post]:
        return [decode_post(m.value)[0] for m in self.bus.read(POSTS_RAW.name)]


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def test_a_post_leaves_masked_with_a_hashed_author(door: Door) -> None:
    raw = fetched(
        "求助！朝阳街3栋2单元501，电话13877123456，快来人",
        title="13877123456 求助",
        native_id="n1",
        followers=12_345,
        url="https://weibo.com/1/n1?refer_flag=1001&id=7#top",
        counts=Counts(3, 2, 1, 0),
        media=(Media("image", "https://example.cn/1.jpg"),),
    )
    assert door.accept([raw]) == IngestResult(read=1, accepted=1)
    (got,) = door.published()
    assert got.id == post_id("weibo", "n1", "", "", "", "")
    assert "13877123456" not in got.text + got.title
    assert "501" not in got.text
    assert got.author == hash_author("雨夜小明", "weibo", KEY)
    assert "小明" not in repr(got)
    assert got.followers == 10_000
    assert got.url == "https://weibo.com/1/n1?id=7"
    assert got.counted_at == NIGHT
    assert base64.b64decode(got.sealed_contact).decode() == "13877123456"
    assert got.media == raw.media


def test_a_post_without_phones_carries_no_contact(door: Door) -> None:
    door.accept([fetched("白沙大道积水")])
    (got,) = door.published()
    assert got.sealed_contact == ""
    assert got.counted_at is None


def test_the_same_post_again_is_not_passed_on(door: Door) -> None:
    raw = fetched()
    assert door.accept([raw, raw]) == IngestResult(read=2, accepted=1, repeated=1)
    assert door.accept([raw]) == IngestResult(read=1, repeated=1)
    assert len(door.published()) == 1


def test_changed_counts_and_changed_text_are_passed_on_under_the_same_id(door: Door) -> None:
    door.accept([fetched(native_id="a", counts=Counts(likes=1))])
    later = NIGHT + timedelta(minutes=10)
    grown = fetched(native_id="a", counts=Counts(likes=9), fetched_at=later)
    assert door.accept([grown]) == IngestResult(read=1, repeated=1, updated=1)
    edited = fetched("改了", native_id="a", counts=Counts(likes=9), fetched_at=later)
    assert door.accept([edited]) == IngestResult(read=1, repeated=1, updated=1)
    vanished = fetched("改了", native_id="a", counts=Counts(likes=9), fetched_at=later, gone=True)
    assert door.accept([vanished]).updated == 1
    assert len({p.id for p in door.published()}) == 1
    assert [p.counts.likes for p in door.published()] == [1, 9, 9, 9]


def test_an_older_state_of_a_post_is_not_passed_on(door: Door) -> None:
    door.accept([fetched(native_id="a", counts=Counts(likes=9))])
    older = fetched(native_id="a", counts=Counts(likes=1), fetched_at=NIGHT - timedelta(minutes=1))
    assert door.accept([older]) == IngestResult(read=1, repeated=1)


def test_without_native_id_the_link_names_the_post(door: Door) -> None:
    one = fetched(native_id="", url="https://A.example.cn/x?utm_source=wx")
    two = fetched("改了字", native_id="", url="https://a.example.cn/x#c")
    assert door.accept([one, two]) == IngestResult(read=2, accepted=1, repeated=1, updated=1)


def test_a_chain_is_told_by_post_ids(door: Door) -> None:
    door.accept([fetched("原帖", native_id="r"), fetched("转发", native_id="s", root="r")])
    root, repost = door.published()
    assert repost.root == root.id
    assert repost.reply_to == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"text": " \0 \n"}, "no text"),
        ({"published_at": datetime.fromisoformat("2007-07-21T16:17:00+08:00")}, "before 2009"),
        ({"published_at": NIGHT + timedelta(minutes=6)}, "after it was fetched"),
        ({"published_at": datetime(2026, 6, 12)}, "ValueError"),  # noqa: DTZ001
        ({"source": ""}, "no source"),
        ({"text": "雨" * 400_000}, "too large"),
        ({"text": 5}, "cannot be read"),
    ],
)
def test_a_bad_post_goes_to_the_dead_letters_and_stops_nobody(
    door: Door, changes: dict[str, object], why: str
) -> None:
    values = {"text": "坏帖", "native_id": "bad", **changes}
    result = door.accept([fetched("前"), fetched(**values), fetched("后")])  # type: ignore[arg-type]
    assert result == IngestResult(read=3, accepted=2, dead=1)
    (letter,) = door.bus.dead()
    assert why in letter.error
    assert (letter.stage, letter.topic) == ("ingest", "posts.raw")
    assert [p.text for p in door.published()] == ["前", "后"]


def test_a_refused_post_waits_masked_and_may_pass_by_hand(door: Door) -> None:
    door.accept([fetched("电话13877123456", published_at=NIGHT + timedelta(days=1))])
    (letter,) = door.bus.dead()
    assert b"13877123456" not in letter.value
    assert "小明".encode() not in letter.value
    door.bus.retry(letter.id, NIGHT)
    assert door.published()[0].text.startswith("电话138")


def test_an_unreadable_piece_keeps_its_bytes_and_its_reason(door: Door) -> None:
    piece = Unreadable("feed-a", b"<item><broken", "not well-formed")
    door.ingest.refuse([piece, piece])
    (letter,) = door.bus.dead()
    assert (letter.value, letter.error, letter.key) == (piece.raw, piece.reason, "feed-a")
    assert letter.tries == 2, "the same broken entry of every crawl is one letter"


def test_times_a_little_ahead_are_taken(door: Door) -> None:
    assert door.accept([fetched(published_at=NIGHT + timedelta(minutes=4))]).accepted == 1


def test_when_the_bus_is_down_nothing_is_marked_as_seen(door: Door, tmp_path: Path) -> None:
    door.accept([fetched("热身")])
    other = sqlite3.connect(tmp_path / "posts.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(EngineDown):
        door.accept([fetched("停电")])
    other.execute("ROLLBACK")
    other.close()
    assert door.accept([fetched("停电")]).accepted == 1
    assert [p.text for p in door.published()] == ["热身", "停电"]


def test_many_posts_pass_in_order(door: Door) -> None:
    result = door.accept([fetched(f"第{i}条", native_id=str(i)) for i in range(1200)])
    assert result == IngestResult(read=1200, accepted=1200)
    assert [p.native_id for p in door.published()] == [str(i) for i in range(1200)]


def test_forgetting_makes_old_posts_new_again(door: Door) -> None:
    door.accept([fetched()])
    assert door.seen.forget_before(door.clock.move(seconds=1)) == 1
    assert door.accept([fetched()]).accepted == 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(alphabet=st.characters(), max_size=80),
    author=st.text(alphabet=st.characters(), max_size=8),
    url=st.text(alphabet=st.characters(), max_size=30),
)
def test_no_text_can_break_the_door(door: Door, text: str, author: str, url: str) -> None:
    result = door.accept([fetched(text, native_id="", author=author, url=f"https://{url}")])
    assert result.read == 1 == result.accepted + result.repeated + result.dead
    for got in door.published():
        assert "\0" not in got.text
        got.text.encode()  # no lone surrogate


def test_cleaning_keeps_words_and_lines() -> None:
    assert clean("\ufeff 大雨\u3000\u3000快跑 \r\n\r\n\n 走\ud83d\0 ") == "大雨 快跑\n走"


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://a.cn/x?spm=1.2&id=3&share_token=q", "https://a.cn/x?id=3"),
        ("https://a.cn/x?b=2&a=1", "https://a.cn/x?b=2&a=1"),
        ("http://A.CN", "http://a.cn/"),
        ("javascript:alert(1)", ""),
        ("http://[bad", ""),
        ("//no.scheme.cn/x", ""),
        ("", ""),
    ],
)
def test_links_lose_what_only_follows_readers(url: str, canonical: str) -> None:
    assert canonical_url(url) == canonical
