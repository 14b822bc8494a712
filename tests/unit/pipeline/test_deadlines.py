"""Clock arithmetic: hours, working days with holidays and make-up workdays, rungs."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.desk.clocks import shipped_rules, work_calendar
from pipeline.domain.deadlines import (
    BEIJING,
    ClockSpec,
    Escalation,
    after_workdays,
    choose,
    left_text,
    passed_rungs,
    times,
    weekdays,
)

START = datetime(2019, 1, 1, tzinfo=UTC)
moments = st.integers(0, 2800 * 24 * 60).map(lambda m: START + timedelta(minutes=m))
"""From 2019 to August 2026: years whose holidays are known."""


def spec(**values: object) -> ClockSpec:
    return ClockSpec(**{"name": "x", "owner": "case", "label": "时限", "basis": "", **values})  # type: ignore[arg-type]


def midnight_after(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), BEIJING)


@given(moments, st.integers(1, 20))
def test_a_due_day_is_a_workday_and_n_workdays_lie_before_it(start: datetime, n: int) -> None:
    due = after_workdays(start, n, work_calendar).astimezone(BEIJING)
    last = (due - timedelta(seconds=1)).date()
    first = start.astimezone(BEIJING).date()
    span = [first + timedelta(days=d) for d in range(1, (last - first).days + 1)]
    assert due.time() == time()
    assert work_calendar(last)
    assert sum(work_calendar(d) for d in span) == n


@given(moments, st.integers(1, 20))
def test_warnings_come_in_order_and_working_day_warnings_fall_on_working_days(
    start: datetime, n: int
) -> None:
    at = times(spec(workdays=n), start, work_calendar)
    assert at.warn50 is not None and at.warn80 is not None
    assert start < at.warn50 < at.warn80 < at.due
    for moment in (at.warn50, at.warn80):
        assert work_calendar((moment.astimezone(BEIJING) - timedelta(seconds=1)).date())


@given(moments, st.integers(1, 10_000))
def test_minutes_are_shared_exactly(start: datetime, minutes: int) -> None:
    at = times(spec(minutes=minutes), start, work_calendar)
    whole = timedelta(minutes=minutes)
    assert at.due - start == whole
    assert at.warn50 is not None and at.warn50 - start == whole * 0.5
    assert at.warn80 is not None and at.warn80 - start == whole * 0.8


def test_the_national_day_of_2026_is_no_working_day_but_its_make_up_days_are() -> None:
    start = datetime(2026, 9, 30, 16, 0, tzinfo=BEIJING)
    # 1-7 October is a holiday; Saturday 10 October is worked (调休)
    assert after_workdays(start, 3, work_calendar) == midnight_after(date(2026, 10, 10))
    assert work_calendar(date(2026, 10, 10)) and not weekdays(date(2026, 10, 10))


def test_a_year_without_announced_holidays_counts_monday_to_friday() -> None:
    friday = datetime(2031, 10, 3, 9, 0, tzinfo=BEIJING)
    assert after_workdays(friday, 1, work_calendar) == midnight_after(date(2031, 10, 6))


def test_the_day_is_the_day_in_beijing() -> None:
    late_thursday_utc = datetime(2026, 11, 19, 17, 0, tzinfo=UTC)  # Friday 01:00 in Beijing
    assert after_workdays(late_thursday_utc, 1, work_calendar) == midnight_after(date(2026, 11, 23))


def test_a_calendar_without_working_days_is_refused() -> None:
    with pytest.raises(ValueError, match="no working day"):
        after_workdays(datetime(2026, 1, 1, tzinfo=UTC), 1, lambda _day: False)


def test_minutes_and_workdays_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="one of them"):
        spec(minutes=5, workdays=1)
    with pytest.raises(ValueError, match="one of them"):
        spec()


def test_a_frozen_clock_reads_back_as_it_was() -> None:
    for clock in shipped_rules().clocks:
        assert ClockSpec.from_json(clock.to_json()) == clock


@pytest.mark.parametrize(
    ("owner", "level", "case_class", "name", "span"),
    [
        ("case", 4, "opinion", "first_release", timedelta(hours=5)),
        ("case", 3, "opinion", "first_release", timedelta(hours=5)),
        ("case", 2, "opinion", "first_release", timedelta(hours=48)),
        ("case", 1, "media", "first_release", timedelta(hours=48)),
        ("case", 4, "opinion", "press", timedelta(hours=24)),
        ("case", 3, "opinion", "release_target", timedelta(hours=1)),
        ("case", 3, "opinion", "report_phone", timedelta(minutes=30)),
        ("case", 3, "opinion", "report_written", timedelta(hours=1)),
        ("alert", 4, "", "unclaimed", timedelta(minutes=5)),
        ("alert", 3, "", "unclaimed", timedelta(minutes=10)),
        ("alert", 2, "", "unclaimed", timedelta(minutes=30)),
        ("assignment", 4, "opinion", "receipt", timedelta(minutes=10)),
        ("assignment", 3, "opinion", "receipt", timedelta(minutes=30)),
        ("assignment", 1, "opinion", "receipt", timedelta(hours=2)),
        ("help", 1, "", "pass_on", timedelta(minutes=5)),
        ("step", 4, "opinion", "check", timedelta(hours=2)),
        ("step", 4, "opinion", "secrecy", timedelta(hours=2)),
    ],
)
def test_the_shipped_table_is_the_one_of_the_plan(
    owner: str, level: int, case_class: str, name: str, span: timedelta
) -> None:
    by_name = {s.name: s for s in choose(shipped_rules().clocks, owner, level, case_class)}
    assert by_name[name].minutes == span.total_seconds() / 60


@pytest.mark.parametrize(("case_class", "days"), [("policy", 3), ("request", 20)])
def test_policy_and_requests_count_working_days(case_class: str, days: int) -> None:
    chosen = choose(shipped_rules().clocks, "case", 1, case_class)
    assert [(s.name, s.workdays) for s in chosen] == [("first_release", days)]


def test_minor_alerts_have_no_clock() -> None:
    assert choose(shipped_rules().clocks, "alert", 1, "") == []


def test_rungs_pass_one_after_the_other() -> None:
    start = datetime(2026, 11, 24, tzinfo=UTC)
    at = times(spec(minutes=100), start, weekdays)
    up = (Escalation(0, ("leader",)), Escalation(30, ("leader",)))

    def passed(minutes: int) -> list[str]:
        now = start + timedelta(minutes=minutes)
        return passed_rungs(now, at.warn50, at.warn80, at.due, up)

    assert passed(49) == []
    assert passed(50) == ["50"]
    assert passed(80) == ["50", "80"]
    assert passed(100) == ["50", "80", "due", "up1"]
    assert passed(130) == ["50", "80", "due", "up1", "up2"]


def test_left_time_is_said_in_words() -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    assert left_text(now, now + timedelta(minutes=72)) == "还剩 1 小时 12 分"
    assert left_text(now, now - timedelta(minutes=3)) == "已超时 3 分钟"
    assert left_text(now, now + timedelta(days=2, hours=1)) == "还剩 2 天 1 小时"
