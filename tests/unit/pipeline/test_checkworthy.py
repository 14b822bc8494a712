"""Which new claim to look into first, and why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.checkworthy import (
    MOST_CONSEQUENCE,
    MOST_SPREAD,
    MOST_WHO,
    NO_SOURCE,
    Spoken,
    most_worth,
    worth,
)

AT = datetime(2026, 6, 20, 14, 0, tzinfo=UTC)
PLAIN = Spoken(
    "E-1", "网传：城西下雨了", (), AT, AT, posts=2, authors=2, last_hour=2, names_source=True
)


def score(**changed: object) -> float:
    return worth(replace(PLAIN, **changed)).score  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changed",
    [
        {"title": "网传：青龙水库要溃坝"},
        {"texts": ("听讲死了三个人",)},
        {"texts": ("村里连夜转移了",)},
        {"title": "网传：明天停课"},
        {"last_hour": 30},
        {"authors": 40},
        {"reposts": 500},
        {"followers": 100_000},
        {"is_verified": True},
        {"is_organisation": True},
        {"names_source": False},
        {"max_urgency": 3},
    ],
)
def test_each_ground_raises_the_claim(changed: dict[str, object]) -> None:
    assert score(**changed) > score()


def test_graver_consequences_weigh_more() -> None:
    titles = ["水库溃坝", "连夜撤离", "明天停课", "桥上封路", "百年一遇"]
    scores = [score(title=title) for title in titles]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(scores)


def test_reasons_say_why_the_weightiest_first() -> None:
    found = worth(
        replace(
            PLAIN, title="水库溃坝死了人", names_source=False, last_hour=40, authors=25,
            followers=230_000, is_verified=True, reposts=900,
        )
    )  # fmt: skip
    assert found.reasons == (
        "涉溃坝泄洪、人员伤亡", "认证账号发布，粉丝 23 万以上", "未说来源", "近 1 小时 40 条",
        "转发 900 次", "25 个账号在说",
    )  # fmt: skip


def test_an_answer_moves_it_down_but_not_away() -> None:
    open_one, answered = score(title="水库溃坝"), score(title="水库溃坝", is_answered=True)
    assert 0 < answered < open_one
    assert "已有官方或媒体回应" in worth(replace(PLAIN, is_answered=True)).reasons


def test_five_come_first_in_a_fixed_order() -> None:
    spoken = [replace(PLAIN, event_id=f"E-{n}", last_hour=n) for n in range(9)]
    first = most_worth(spoken)
    assert [w.spoken.event_id for w in first] == ["E-8", "E-7", "E-6", "E-5", "E-4"]
    same = [replace(PLAIN, event_id=name) for name in ("B", "A")]
    newer = replace(PLAIN, event_id="C", last_at=AT + timedelta(minutes=1))
    assert [w.spoken.event_id for w in most_worth([*same, newer])] == ["C", "A", "B"]


@given(
    st.text(max_size=40),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.integers(-1, 10**9),
    st.booleans(),
    st.integers(0, 3),
)
def test_points_stay_in_their_range(
    title: str, hour: int, authors: int, reposts: int, followers: int, known: bool, urgency: int
) -> None:
    found = worth(
        replace(
            PLAIN, title=title + "溃坝死人撤离停课", last_hour=hour, authors=authors,
            reposts=reposts, followers=followers, is_verified=known, max_urgency=urgency,
            names_source=False,
        )
    )  # fmt: skip
    assert 0 < found.score <= MOST_CONSEQUENCE + MOST_SPREAD + MOST_WHO + NO_SOURCE == 100
    assert all(found.reasons)
