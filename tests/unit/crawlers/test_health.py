"""When an empty page is suspicious, when a source is late, and what counts as changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from crawlers.health import SourceRun, Visits, is_late, is_suspiciously_empty
from crawlers.memory import REMEMBERED, Memory, state_of
from pipeline.domain.post import Counts, FetchedPost

AT = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def judged(*entries: int, step: timedelta = HOUR) -> list[bool]:
    visits = Visits()
    return [visits.judge(n, AT + i * step) for i, n in enumerate(entries)]


def test_the_first_visit_cannot_be_suspicious() -> None:
    assert judged(0) == [False]
    assert not is_suspiciously_empty(0, AT, ())


def test_a_full_list_that_empties_is_suspicious_until_it_fills_again() -> None:
    assert judged(20, 20, 0, 0, 0, 12, 12) == [False, False, True, True, True, False, False]


def test_a_list_that_is_often_empty_is_not() -> None:
    assert judged(1, 0, 2, 0, 1, 0) == [False] * 6


def test_the_same_hour_of_other_days_counts() -> None:
    visits = Visits()
    for day in range(3):
        visits.judge(8, AT + day * timedelta(days=1))
        for hour in range(1, 20):  # the rest of the day has one entry at most
            visits.judge(1, AT + day * timedelta(days=1) + hour * HOUR)
    assert visits.judge(0, AT + timedelta(days=3))
    assert not visits.judge(0, AT + timedelta(days=3) + 5 * HOUR)


def test_unchanged_says_nothing() -> None:
    assert judged(20, -1, -1, 0) == [False, False, False, True]


def test_late() -> None:
    assert not is_late(0, AT, AT + timedelta(days=9))
    assert not is_late(4, None, AT)
    assert not is_late(60, AT, AT + timedelta(minutes=59))
    assert is_late(60, AT, AT + timedelta(minutes=61))
    assert not is_late(1, AT, AT + timedelta(hours=3))
    assert is_late(1, AT, AT + timedelta(hours=5))


def test_states_tell_a_refusal_from_a_failure_from_silence() -> None:
    run = SourceRun("s", "feed", AT, AT, ok=True)
    assert run.state == "ok"
    assert replace(run, empty_suspicious=True).state == "empty"
    assert replace(run, ok=False).state == "failing"
    assert replace(run, ok=False, refused=True).state == "refused"


def test_memory_forgets_the_oldest_first() -> None:
    memory = Memory()
    for number in range(REMEMBERED + 10):
        assert memory.is_new(str(number), "x")
    assert not memory.has("0", "x")
    assert memory.has("10", "x")
    assert not memory.is_new("10", "x")
    memory.forget_all()
    assert memory.is_new("10", "x")


def test_small_changes_of_great_counts_are_no_change() -> None:
    post = FetchedPost("s", "雨", AT, AT, native_id="1", counts=Counts(reposts=1000))
    assert state_of(post) == state_of(replace(post, counts=Counts(reposts=1004)))
    assert state_of(post) != state_of(replace(post, counts=Counts(reposts=1200)))
    assert state_of(replace(post, counts=Counts(1))) != state_of(replace(post, counts=Counts(2)))
    assert state_of(post) != state_of(replace(post, text="停了"))
