"""Chinese times: examples of every form, and what must hold for any text at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawlers.times import AHEAD, find_time, from_excel_serial, parse_time
from pipeline.clock import BEIJING

FETCHED = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)  # 10:00 in Beijing


def beijing(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=BEIJING)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("raw", "expected", "precision"),
    [
        ("1610983347", beijing(2021, 1, 18, 23, 22, 27), "second"),
        ("1610983347000", beijing(2021, 1, 18, 23, 22, 27), "second"),
        (1610983347, beijing(2021, 1, 18, 23, 22, 27), "second"),
        ("Sat Jul 24 10:11:12 +0800 2021", beijing(2021, 7, 24, 10, 11, 12), "second"),
        ("Tue, 24 Nov 2026 01:00:00 GMT", beijing(2026, 11, 24, 9), "second"),
        ("Tue, 24 Nov 2026 09:00:00", beijing(2026, 11, 24, 9), "second"),
        ("20261006212927", beijing(2026, 10, 6, 21, 29, 27), "second"),
        ("2026/09/20 00:43", beijing(2026, 9, 20, 0, 43), "minute"),
        ("2024-8-6 22:11", beijing(2024, 8, 6, 22, 11), "minute"),
        ("2021年07月21日 16:17", beijing(2021, 7, 21, 16, 17), "minute"),
        ("2021年7月21日16时17分", beijing(2021, 7, 21, 16, 17), "minute"),
        ("2021年7月21日下午4时17分", beijing(2021, 7, 21, 16, 17), "minute"),
        ("2021-07-21", beijing(2021, 7, 21), "day"),
        ("２０２１－０７－２１　１６：１７", beijing(2021, 7, 21, 16, 17), "minute"),
        ("2025-06-14 12:00:00+08:00", beijing(2025, 6, 14, 12), "second"),
        ("2025-10-24T11:19+08:00", beijing(2025, 10, 24, 11, 19), "minute"),
        ("2026-11-24T01:30:00Z", beijing(2026, 11, 24, 9, 30), "second"),
        ("刚刚", beijing(2026, 11, 24, 10), "minute"),
        ("10秒前", beijing(2026, 11, 24, 9, 59, 50), "second"),
        ("3分钟前", beijing(2026, 11, 24, 9, 57), "minute"),
        ("1分钟内", beijing(2026, 11, 24, 9, 59), "minute"),
        ("2小时前", beijing(2026, 11, 24, 8), "minute"),
        ("半小时前", beijing(2026, 11, 24, 9, 30), "minute"),
        ("一个半小时前", beijing(2026, 11, 24, 8, 30), "minute"),
        ("5天前", beijing(2026, 11, 19, 10), "day"),
        ("今天 09:30", beijing(2026, 11, 24, 9, 30), "minute"),
        ("今天09:30", beijing(2026, 11, 24, 9, 30), "minute"),
        ("昨天 08:15", beijing(2026, 11, 23, 8, 15), "minute"),
        ("前天", beijing(2026, 11, 22), "day"),
        ("07月21日 16:17", beijing(2026, 7, 21, 16, 17), "minute"),
        ("06-14", beijing(2026, 6, 14), "day"),
        ("12-25", beijing(2025, 12, 25), "day"),  # not this year yet
        ("02-29", beijing(2024, 2, 29), "day"),  # the last year that had one
        ("11月23日", beijing(2026, 11, 23), "day"),  # a general parser says 2011
        ("发布于 2026-3-15", beijing(2026, 3, 15), "day"),
        ("编辑于 昨天 08:15", beijing(2026, 11, 23, 8, 15), "minute"),
        ("更新时间：2026-11-20 07:00", beijing(2026, 11, 20, 7), "minute"),
        ("07月21日 16:17 转赞人数超过30", beijing(2026, 7, 21, 16, 17), "minute"),
    ],
)
def test_every_form_that_sites_write(raw: str, expected: datetime, precision: str) -> None:
    found = parse_time(raw, FETCHED)
    assert found is not None
    assert found.at == expected
    assert found.at.tzinfo is UTC
    assert found.precision == precision


def test_today_at_a_later_hour_was_yesterday() -> None:
    found = parse_time("今天 12:30", FETCHED)
    assert found is not None
    assert found.at == beijing(2026, 11, 23, 12, 30)


@pytest.mark.parametrize(
    "raw",
    ["", "   ", "明天", "2027-01-01 08:00", "2026-11-24 10:06", "2026-02-30", "1970-01-01", "暴雨",
     "99999999999小时前", "13月45日", "25:61", "x" * 5000, "\x00", "\ud800"],
)  # fmt: skip
def test_what_is_no_past_time_is_refused(raw: str) -> None:
    assert parse_time(raw, FETCHED) is None


def test_a_clock_a_little_ahead_is_borne() -> None:
    assert parse_time("2026-11-24 10:04", FETCHED) is not None


def test_a_time_within_a_byline() -> None:
    found = find_time("来源：南宁晚报　时间：2026年11月23日 07:41　编辑：小韦", FETCHED)
    assert found is not None
    assert found[0] == "2026年11月23日 07:41"
    assert found[1].at == beijing(2026, 11, 23, 7, 41)


def test_excel_serials() -> None:
    found = from_excel_serial(45000.5, FETCHED)
    assert found is not None
    assert found.at == beijing(2023, 3, 15, 12)
    assert from_excel_serial(12.0, FETCHED) is None


moments = st.datetimes(
    min_value=datetime(1995, 1, 1),  # noqa: DTZ001
    max_value=datetime(2035, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@given(st.text(max_size=100), moments)
def test_never_crashes_and_is_never_in_the_future(raw: str, fetched_at: datetime) -> None:
    found = parse_time(raw, fetched_at)
    assert found is None or found.at <= fetched_at + AHEAD


@given(st.text(alphabet="0123456789年月日时分秒前天昨今刚半小周上:-/ .T+Z转", max_size=30), moments)
def test_never_crashes_on_what_looks_like_a_time(raw: str, fetched_at: datetime) -> None:
    found = parse_time(raw, fetched_at)
    assert found is None or (found.at <= fetched_at + AHEAD and found.at.year >= 1990)


@given(moments)
def test_a_date_without_a_year_lies_in_the_year_before_the_fetch(fetched_at: datetime) -> None:
    found = parse_time("07月21日 16:17", fetched_at)
    assert found is not None
    assert timedelta(0) <= fetched_at + AHEAD - found.at <= timedelta(days=366)


later_moments = moments.filter(lambda at: at.year >= 2006)  # ten-digit epochs begin in 2001


@given(later_moments, st.integers(0, 10**8))
def test_round_trips(fetched_at: datetime, back: int) -> None:
    at = (fetched_at - timedelta(seconds=back)).replace(microsecond=0)
    local = at.astimezone(BEIJING)
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    forms = [
        f"{int(at.timestamp())}",
        f"{int(at.timestamp())}000",
        f"{local:%Y%m%d%H%M%S}",
        f"{local:%Y-%m-%d %H:%M:%S}",
        f"{local:%Y/%m/%d %H:%M:%S}",
        f"{local:%Y年%m月%d日 %H:%M:%S}",
        f"发布于 {local.year}年{local.month}月{local.day}日 {local:%H时%M分%S秒}",
        f"{at:%Y-%m-%dT%H:%M:%SZ}",
        f"{local:%Y-%m-%dT%H:%M:%S+08:00}",
        f"Mon {months[local.month - 1]} {local:%d %H:%M:%S} +0800 {local.year}",
        f"{at.day} {months[at.month - 1]} {at:%Y %H:%M:%S} GMT",
    ]
    for form in forms:
        found = parse_time(form, fetched_at)
        assert found is not None, form
        assert (found.at, found.precision) == (at, "second"), form
