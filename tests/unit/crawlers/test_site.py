"""List and detail pages by selectors, and what happens when a selector no longer fits."""

from __future__ import annotations

from datetime import datetime

from crawlers.sources import Selectors
from pipeline.clock import BEIJING
from tests.unit.crawlers.replica import Answer, Desk, Replica, crawl

ROW = '<li><a href="{href}">{title}</a><span class="date">{date}</span><i>{n}</i></li>'
LIST = Selectors(item="ul.list > li", link="a::attr(href)", title="a::text",
                 time="span.date::text", next="a.next::attr(href)", body="div.content",
                 detail_time="span.time::text", detail_author="b::text")  # fmt: skip
PARAGRAPH = "受持续强降雨影响，民族大道部分路段出现积水，交警提醒市民绕行。排水人员已到现场处置。"


def row(href: str, title: str = "积水", date: str = "今天 09:00", n: int = 0) -> str:
    return ROW.format(href=href, title=title, date=date, n=n)


def listing(*rows: str, more: str = "") -> str:
    return f'<html><body><ul class="list">{"".join(rows)}</ul>{more}</body></html>'


def detail(text: str = PARAGRAPH, time: str = "2026年11月24日 09:00", css: str = "content") -> str:
    return (
        f"<html><head><title>积水</title></head><body><h1>积水</h1><b>小韦</b>"
        f'<span class="time">发布时间：{time}</span>'
        f'<div class="{css}"><p>{text}</p></div></body></html>'
    )


def test_list_and_detail() -> None:
    replica = Replica({"/l": listing(row("/d1")), "/d1": detail()})
    desk = crawl(replica, "site", "/l", selectors=LIST, times=2)
    (post,) = desk.posts
    assert (post.text, post.title, post.author) == (PARAGRAPH, "积水", "小韦")
    assert post.published_at == datetime(2026, 11, 24, 9, 0, tzinfo=BEIJING)
    assert post.url.endswith("/d1")
    assert replica.paths.count("/d1") == 1  # the second visit saw nothing new


def test_gbk_pages_whose_header_is_silent() -> None:
    gbk = detail().replace("<head>", '<head><meta charset="gb2312">').encode("gbk")
    replica = Replica({"/l": listing(row("/d1")), "/d1": Answer(gbk)})
    assert crawl(replica, "site", "/l", selectors=LIST).posts[0].text == PARAGRAPH


def test_a_page_that_claims_gbk_and_is_utf8() -> None:
    page = detail().replace("<head>", '<head><meta charset="gb2312">')
    replica = Replica({"/l": listing(row("/d1")), "/d1": page})
    assert crawl(replica, "site", "/l", selectors=LIST).posts[0].text == PARAGRAPH


def test_a_relative_time_that_moves_on_is_no_change() -> None:
    def later(replica: Replica) -> None:
        replica.pages = {"/l": listing(row("/d1", date="5分钟前")), "/d1": detail()}

    replica = Replica({"/l": listing(row("/d1", date="3分钟前")), "/d1": detail()})
    crawl(replica, "site", "/l", selectors=LIST, times=2, between=later)
    assert replica.paths.count("/d1") == 1


def test_a_new_answer_sends_us_back_to_the_page() -> None:
    def answered(replica: Replica) -> None:
        reply = '<div class="re" data-id="r1"><p>我也是</p><u>今天 09:30</u></div>'
        page = detail().replace("</body>", f"{reply}</body>")
        replica.pages = {"/l": listing(row("/d1", n=1)), "/d1": page}

    selectors = Selectors(
        **{f: getattr(LIST, f) for f in ("item", "link", "title", "time", "body", "detail_time")},
        detail_id="h1::text", reply="div.re", reply_id="::attr(data-id)", reply_body="p",
        reply_time="u::text",
    )  # fmt: skip
    replica = Replica({"/l": listing(row("/d1")), "/d1": detail()})
    posts = crawl(replica, "site", "/l", selectors=selectors, times=2, between=answered).posts
    assert [(p.native_id, p.text, p.reply_to) for p in posts[1:]] == [("r1", "我也是", "积水")]


def test_a_selector_that_fails_falls_back_and_says_so() -> None:
    page = detail(PARAGRAPH * 3, css="renamed")
    desk = crawl(Replica({"/l": listing(row("/d1")), "/d1": page}), "site", "/l", selectors=LIST)
    (post,) = desk.posts
    assert PARAGRAPH in post.text
    assert post.published_at == datetime(2026, 11, 24, 9, 0, tzinfo=BEIJING)
    assert desk.runs[0].fallbacks == 1
    assert "选择器已失效" in desk.runs[0].reason


def test_a_page_without_text_is_unreadable() -> None:
    page = "<html><body><div class='content'></div></body></html>"
    desk = crawl(Replica({"/l": listing(row("/d1")), "/d1": page}), "site", "/l", selectors=LIST)
    assert desk.posts == []
    assert "找不到正文" in desk.pieces[0].reason


def test_pages_are_followed_by_link_and_by_cursor() -> None:
    more = '<a class="next" href="/l?page=2">下一页</a>'
    pages = {"/l": listing(row("/d1"), more=more), "/l?page=2": listing(row("/d2")),
             "/d1": detail(), "/d2": detail("第二页的帖子，也下雨了。")}  # fmt: skip
    assert len(crawl(Replica(pages), "site", "/l", selectors=LIST).posts) == 2
    by_cursor = Selectors(item="li", text="p", time="u::text", id="::attr(data-tid)",
                          cursor="li::attr(data-tid)", cursor_param="lastItem")  # fmt: skip
    letter = '<li data-tid="{n}"><p>来信{n}</p><u>今天 09:00</u></li>'
    pages = {"/t?fid=1": letter.format(n=9) + letter.format(n=8),
             "/t?fid=1&lastItem=8": letter.format(n=7)}  # fmt: skip
    posts = crawl(Replica(pages), "site", "/t?fid=1", selectors=by_cursor, pages=3).posts
    assert [p.native_id for p in posts] == ["9", "8", "7"]


def test_links_to_other_hosts_are_not_followed() -> None:
    replica = Replica({"/l": listing(row("https://other.example/d"), row("/d1")), "/d1": detail()})
    desk = crawl(replica, "site", "/l", selectors=LIST)
    assert len(desk.posts) == 1
    assert desk.runs[0].state == "ok"


def test_one_dead_page_does_not_fail_the_visit_and_is_tried_again() -> None:
    def repaired(replica: Replica) -> None:
        replica.pages = {
            "/l": listing(row("/d1"), row("/d2")),
            "/d1": detail(),
            "/d2": detail("好了，雨停了"),
        }

    replica = Replica(
        {"/l": listing(row("/d1"), row("/d2")), "/d1": detail(), "/d2": Answer(status=500)}
    )
    desk = crawl(replica, "site", "/l", selectors=LIST, times=2, between=repaired)
    assert [run.state for run in desk.runs] == ["ok", "ok"]
    assert "部分页面取不到" in desk.runs[0].reason
    assert [p.text for p in desk.posts] == [PARAGRAPH, "好了，雨停了"]


def test_a_list_that_falls_silent_is_told() -> None:
    def silent(replica: Replica) -> None:
        replica.pages = {"/l": listing()}

    rows = [row(f"/d{n}") for n in range(4)]
    replica = Replica({"/l": listing(*rows)} | {f"/d{n}": detail() for n in range(4)})
    desk = crawl(replica, "site", "/l", selectors=LIST, times=2, between=silent)
    assert [run.state for run in desk.runs] == ["ok", "empty"]
    assert "突然为空" in desk.runs[1].reason


def test_what_the_door_cannot_take_now_is_not_lost() -> None:
    patient = crawl(
        Replica({"/l": listing(row("/d1")), "/d1": detail()}), "site", "/l", selectors=LIST,
        desk=Desk(busy=2),
    )  # fmt: skip
    assert len(patient.posts) == 1
    shut = crawl(
        Replica({"/l": listing(row("/d1")), "/d1": detail()}), "site", "/l", selectors=LIST,
        desk=Desk(busy=9), times=2,
    )  # fmt: skip
    assert [run.state for run in shut.runs] == ["failing", "ok"]
    assert len(shut.posts) == 1  # the second visit brought it again
