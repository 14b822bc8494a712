"""Official warnings: the national list and CAP, whose messages this file writes itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from crawlers.warnings_feed import NotAWarning, from_cap, from_nmc_row, read_title
from pipeline.clock import BEIJING
from pipeline.domain.warning import read_alert_id
from tests.unit.crawlers.replica import NOW, Answer, Replica, crawl

NS = 'xmlns="urn:oasis:names:tc:emergency:cap:1.2"'


def nmc(stamp: str, title: str, pic: str = "p0002003.png", **more: Any) -> dict[str, Any]:
    at = f"{stamp[:4]}/{stamp[4:6]}/{stamp[6:8]} {stamp[8:10]}:{stamp[10:12]}"
    return {"alertid": f"45010041600000_{stamp}", "issuetime": at, "title": title,
            "url": f"/publish/alarm/45010041600000_{stamp}.html", "pic": pic} | more  # fmt: skip


def answer(*rows: dict[str, Any], page: int = 1, total: int = 1) -> str:
    return json.dumps(
        {"msg": "success", "code": 0,
         "data": {"page": {"pageNo": page, "totalPage": total, "list": list(rows)},
                  "provinceAlarms": list(rows)}}
    )  # fmt: skip


def cap(**changes: str) -> str:
    parts = {
        "identifier": "45010041600000_20261124083000", "sender": "45010041600000",
        "sent": "2026-11-24T08:30:00+08:00", "status": "Actual", "msgType": "Alert",
        "scope": "Public", "references": "", "extra": "",
    } | changes  # fmt: skip
    head = "".join(
        f"<{name}>{parts[name]}</{name}>"
        for name in ("identifier", "sender", "sent", "status", "msgType", "scope", "references")
        if parts[name]
    )
    info = parts.get("info", INFO)
    return f'<?xml version="1.0" encoding="UTF-8"?>{parts["extra"]}<alert {NS}>{head}{info}</alert>'


INFO = (
    "<info><language>en-US</language><event>Rain</event><headline>Rain</headline></info>"
    "<info><language>zh-CN</language><category>Met</category><event>暴雨</event>"
    "<urgency>Immediate</urgency><severity>Severe</severity><certainty>Likely</certainty>"
    "<eventCode><valueName>nmc</valueName><value>0002</value></eventCode>"
    "<effective>2026-11-24T08:30:00+08:00</effective><expires>2026-11-24T20:30:00+08:00</expires>"
    "<senderName>南宁市气象台</senderName><headline>南宁市气象台发布暴雨橙色预警信号</headline>"
    "<description>预计未来3小时有强降雨。</description><area><areaDesc>南宁市</areaDesc>"
    "<geocode><valueName>行政区划</valueName><value>450100</value></geocode></area></info>"
)


def read(text: str, **options: Any) -> Any:
    return from_cap(text.encode(), url="u", source="s", **options)


def test_alert_ids() -> None:
    assert read_alert_id("45010041600000_20261124083000") == (
        "45010041600000", "450100", datetime(2026, 11, 24, 0, 30, tzinfo=UTC),
    )  # fmt: skip
    assert read_alert_id("45010041600000_20261324083000") is None
    assert read_alert_id("x") is None


@pytest.mark.parametrize(
    ("title", "hazard", "type_name", "colour", "station"),
    [
        ("南宁市气象台发布暴雨橙色预警信号", "rain", "暴雨", "orange", "南宁市气象台"),
        ("隆安县气象台解除雷雨大风黄色预警信号", "thunder", "雷雨大风", "yellow", "隆安县气象台"),
        ("广西气象台发布暴雨四级预警", "rain", "暴雨", "blue", "广西气象台"),
        ("某市气象台发布空间天气红色预警", "other", "空间天气", "red", "某市气象台"),
        (
            "海南省气象台发布海上雷雨大风黄色预警信号",
            "thunder",
            "海上雷雨大风",
            "yellow",
            "海南省气象台",
        ),
    ],
)
def test_titles(title: str, hazard: str, type_name: str, colour: str, station: str) -> None:
    assert read_title(title) == (hazard, type_name, colour, station)


def test_the_earlier_of_list_time_and_stamp_is_the_issue() -> None:
    row = nmc(
        "20261124083749", "五大连池市气象台发布暴雨黄色预警信号", issuetime="2026/11/24 08:30"
    )
    warning = from_nmc_row(row, NOW, url="", source="s")
    assert warning.issued_at == datetime(2026, 11, 24, 8, 30, tzinfo=BEIJING)
    exact = from_nmc_row(
        nmc("20261124083749", "x气象台发布暴雨黄色预警信号"), NOW, url="", source="s"
    )
    assert exact.issued_at == datetime(2026, 11, 24, 8, 37, 49, tzinfo=BEIJING)


def test_a_colour_missing_in_the_title_stands_in_the_picture() -> None:
    row = nmc("20261124083000", "广西气象台发布暴雨预警", pic="https://x.example/p0002002.png")
    warning = from_nmc_row(row, NOW, url="", source="s")
    assert (warning.colour, warning.type_code) == ("orange", "0002")


def test_the_list_gives_warnings_and_posts_and_knows_what_follows() -> None:
    first = nmc("20261124080000", "南宁市气象台发布暴雨黄色预警信号")
    second = nmc("20261124083000", "南宁市气象台发布暴雨橙色预警信号", pic="p0002002.png")
    third = nmc("20261124090000", "南宁市气象台解除暴雨橙色预警信号", pic="p0002002.png")
    text = '<div id="alarmtext"><p>南宁市气象台2026年11月24日发布预警：雨很大。</p></div>'
    pages = {"/w?pageNo=1": answer(second, first)} | {
        r["url"]: text for r in (first, second, third)
    }

    def lifted(replica: Replica) -> None:
        replica.pages = pages | {"/w?pageNo=1": answer(third, second, first)}

    desk = crawl(Replica(pages), "warning", "/w?pageNo=1", platform="warning", empty_ok=True,
                 times=2, between=lifted)  # fmt: skip
    acts = {w.id[-6:]: (w.action, w.colour, w.supersedes) for w in desk.warnings}
    assert acts == {
        "080000": ("issued", "yellow", ()),
        "083000": ("changed", "orange", (first["alertid"],)),
        "090000": ("lifted", "orange", (second["alertid"],)),
    }
    post = next(p for p in desk.posts if p.native_id == second["alertid"])
    assert post.author_kind == "government"
    assert post.text == "南宁市气象台2026年11月24日08时30分变更发布暴雨橙色预警信号：雨很大。"
    assert len(desk.posts) == 3


def test_a_bulletin_that_cannot_be_had_does_not_hold_up_its_warning() -> None:
    row = nmc("20261124080000", "南宁市气象台发布暴雨红色预警信号")
    pages = {"/w": answer(row), row["url"]: Answer(status=500)}
    desk = crawl(Replica(pages), "warning", "/w", empty_ok=True)
    assert [w.colour for w in desk.warnings] == ["red"]
    assert desk.posts[0].text.endswith("发布暴雨红色预警信号。")


def test_an_empty_list_of_warnings_is_ordinary_and_a_strange_one_is_not() -> None:
    assert crawl(Replica({"/w": answer()}), "warning", "/w", empty_ok=True).runs[0].state == "ok"
    strange = crawl(Replica({"/w": '{"msg":"error"}'}), "warning", "/w", empty_ok=True)
    assert strange.runs[0].state == "failing"
    rows = crawl(Replica({"/w": answer({"title": "x"})}), "warning", "/w", empty_ok=True)
    assert "预警编号" in rows.pieces[0].reason


def test_cap_takes_the_chinese_info_and_its_facts() -> None:
    warning = read(cap())
    assert (warning.type_name, warning.hazard, warning.colour) == ("暴雨", "rain", "orange")
    assert (warning.station, warning.adcode, warning.area) == ("南宁市气象台", "450100", "南宁市")
    assert warning.expires_at == datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
    assert (warning.action, warning.type_code, warning.supersedes) == ("issued", "0002", ())


def test_cap_references_supersede() -> None:
    before = "45010041600000,45010041600000_20261124080000,2026-11-24T08:00:00+08:00"
    update = read(cap(msgType="Update", references=before))
    cancel = read(cap(msgType="Cancel", references=f"{before} a,b,2026-11-24T08:00:00+08:00"))
    assert (update.action, update.supersedes) == ("changed", ("45010041600000_20261124080000",))
    assert (cancel.action, cancel.supersedes[1]) == ("lifted", "b")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (cap(status="Test"), "Test"),
        (cap(status="Exercise"), "Exercise"),
        (cap(scope=""), "缺少必填项"),
        (cap(scope="Private"), "Private"),
        (cap(msgType="Ack"), "Ack"),
        (cap(info=""), "info"),
        (cap(sent="2026-11-24T08:30:00"), "时区"),
        (cap(extra='<!DOCTYPE alert [<!ENTITY x SYSTEM "file:///etc/passwd">]>'), "DTD"),
        ("<alert>", "XML"),
        ("<rss/>", "不是 CAP"),
    ],
)
def test_cap_messages_that_are_no_warnings(text: str, why: str) -> None:
    with pytest.raises(NotAWarning, match=why):
        read(text)


def test_exercises_are_taken_where_a_drill_says_so() -> None:
    assert read(cap(status="Exercise"), accept_exercise=True).id.endswith("083000")


def test_unknown_types_pass_through() -> None:
    info = INFO.replace("暴雨", "空间天气").replace("0002", "9901")
    warning = read(cap(info=info))
    assert (warning.hazard, warning.type_name, warning.type_code) == ("other", "空间天气", "9901")


def test_cap_over_http_from_an_index_and_from_one_address() -> None:
    pages = {"/i": '<a href="/1.xml">1</a><a href="/2.cap">2</a>', "/1.xml": cap(),
             "/2.cap": cap(status="Test")}  # fmt: skip
    desk = crawl(Replica(pages), "warning", "/i", times=2)
    assert len(desk.warnings) == 1
    assert [piece.reason for piece in desk.pieces] == ["状态为 Test，不是实际预警"]
    assert len(crawl(Replica({"/one.xml": cap()}), "warning", "/one.xml").warnings) == 1
