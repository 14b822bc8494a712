"""The arithmetic of a review: figures by hand against the functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pipeline.domain.review import (
    Bucket,
    Moment,
    delays,
    effect,
    half_life,
    half_spread,
    response_in_time,
    say_minutes,
    second_waves,
)

T = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def bucket(minute: int, spread: int = 0, debunk: int = 0, heat: float = 0.0) -> Bucket:
    start = T + timedelta(minutes=minute)
    return Bucket(start, spread + debunk, spread, 0, debunk, 0, 0, heat or float(spread))


def test_delays_leave_missing_times_missing() -> None:
    figures = {
        f.key: f for f in delays([Moment("first_post", "首帖", T), Moment("alert", "警", None)])
    }
    assert figures["first_post_alert"].value is None
    assert figures["first_post_alert"].text == "缺"


def test_delays_count_minutes_and_name_what_they_rest_on() -> None:
    moments = [
        Moment("alert", "预警", T, "A1"),
        Moment("claimed", "认领", T + timedelta(minutes=7)),
    ]
    claimed = next(f for f in delays(moments) if f.key == "alert_claimed")
    assert claimed.value == 7
    assert claimed.refs == ("A1",)
    assert claimed.formula == "认领 − 预警"


def test_margin_is_negative_when_overdue() -> None:
    late = response_in_time(
        [Moment("released", "发布", T + timedelta(hours=6))], T + timedelta(hours=5)
    )
    assert late.value == -60
    assert late.note == "超过时限"
    assert late.text == "-1 小时 0 分"


def test_effect_compares_windows_of_the_same_length() -> None:
    buckets = [bucket(-30, spread=8), bucket(-10, spread=2), bucket(0, spread=3, debunk=3)]
    e = effect(buckets, T, 1)
    assert (e.spread_before, e.spread_after) == (10, 3)
    assert e.change == -70
    assert e.share_debunk_before == 0
    assert e.share_debunk_after == 0.5


def test_effect_without_posts_before_has_no_change() -> None:
    assert effect([bucket(0, spread=3)], T, 1).change is None


def test_half_spread_is_when_half_had_appeared() -> None:
    buckets = [bucket(0, spread=2), bucket(10, spread=2), bucket(20, spread=4)]
    assert half_spread(buckets, T) == 20
    assert half_spread([], T) is None


def test_half_life_needs_spread_before_and_a_fall() -> None:
    falling = [
        bucket(-20, spread=5),
        bucket(-10, spread=5),
        bucket(0, spread=4),
        bucket(40, spread=1),
    ]
    assert half_life(falling, T) == 30
    assert half_life([bucket(0, spread=4)], T) is None


def test_second_waves_need_a_valley() -> None:
    one = [bucket(0, heat=100), bucket(10, heat=10), bucket(20, heat=60), bucket(30, heat=70)]
    assert second_waves(one, T) == 1
    assert second_waves([bucket(0, heat=100), bucket(10, heat=60)], T) == 0


def test_minutes_are_said_in_words() -> None:
    assert say_minutes(0.75) == "45 秒"
    assert say_minutes(72) == "1 小时 12 分"
    assert say_minutes(-3) == "-3 分"
