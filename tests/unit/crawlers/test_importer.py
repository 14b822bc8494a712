"""Files that officers have: every format is told apart and read, every bad row is accounted for."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crawlers.columns import MEDIACRAWLER, load_profile, save_profile, suggest_mapping, table_of
from crawlers.spiders.importer import FORMATS, detect_format, own_post, read_file
from pipeline.clock import BEIJING
from pipeline.domain.post import FetchedPost, Unreadable
from pipeline.errors import SettingsError

FETCHED = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
GOOD = {"source": "written", "text": "江南区下大雨", "time": "2026-11-24T08:00:00+08:00"}


def write_lines(path: Path, rows: list[Any]) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    return path


def write_csv(path: Path, rows: list[list[str]], encoding: str) -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def read(path: Path, **options: Any) -> tuple[list[FetchedPost], list[Unreadable]]:
    items = list(read_file(path, fetched_at=FETCHED, **options))
    return (
        [i for i in items if isinstance(i, FetchedPost)],
        [i for i in items if isinstance(i, Unreadable)],
    )


# -- our own lines ------------------------------------------------------------------------------


def test_own_lines(tmp_path: Path) -> None:
    full = GOOD | {
        "id": "a1", "author": "小韦", "url": "https://example.org/1", "title": "雨",
        "counts": {"reposts": 3, "likes": "1.2万"}, "author_kind": "media", "followers": 1234,
        "repost_of": "a0", "place": "广西",
    }  # fmt: skip
    posts, refused = read(write_lines(tmp_path / "own.jsonl", [full]))
    assert refused == []
    (post,) = posts
    assert (post.native_id, post.author, post.author_kind) == ("a1", "小韦", "media")
    assert (post.counts.reposts, post.counts.likes, post.followers) == (3, 12000, 1234)
    assert post.published_at == datetime(2026, 11, 24, 0, 0, tzinfo=UTC)
    assert (post.repost_of, post.place_hint, post.precision) == ("a0", "广西", "second")


def test_labelled_lines_keep_counts_and_leave_the_label(tmp_path: Path) -> None:
    row = GOOD | {"id": "x:1", "label": {"kind": "help"}, "extra": {"reposts": 7, "comments": 2}}
    posts, _ = read(write_lines(tmp_path / "l.jsonl", [row]))
    assert posts[0].counts.reposts == 7
    assert posts[0].native_id == "x:1"


def test_every_bad_line_is_told_with_its_number(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "bad.jsonl",
        [
            GOOD,
            "{broken",
            "",
            "[1, 2]",
            {"source": "s", "time": "2026-11-24"},
            {"source": "s", "text": "雨"},
            {"source": "s", "text": "雨", "time": "2030-01-01"},
            GOOD | {"text": 5},
            GOOD,
        ],
    )
    posts, refused = read(path)
    assert len(posts) == 2
    assert [piece.reason.split("：")[0] for piece in refused] == [
        f"第{n}行" for n in (2, 4, 5, 6, 7, 8)
    ]
    assert all(piece.raw for piece in refused)


def test_nul_lone_surrogates_and_wrong_bytes(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"source":"s","text":"a\\u0000b\\ud800c","time":"2026-11-24 08:00"}\n'
        b'{"source":"s","text":"\xff\xfe","time":"2026-11-24 08:00"}\n'
        b'{"source":"s","text":"ok","time":"2026-11-24 08:00"}'
    )
    posts, refused = read(path)
    assert [post.text for post in posts] == ["ab\ufffdc", "ok"]
    assert [piece.reason for piece in refused] == ["第2行：不是 UTF-8 编码"]


def test_gzip_is_known_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "own.data"
    path.write_bytes(gzip.compress(json.dumps(GOOD).encode()))
    assert detect_format(path) == "jsonl"
    assert len(read(path)[0]) == 1


@given(
    st.dictionaries(
        st.sampled_from(["text", "time", "source", "counts", "extra", "id", "author", "followers"]),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=4,
        ),
    )
)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_object_is_a_post_or_says_why_not(cells: dict[str, Any]) -> None:
    try:
        post = own_post(cells, FETCHED)
    except ValueError as problem:
        assert str(problem)
    else:
        post.text.encode()  # storable
        assert post.text
        assert post.counts.reposts >= 0


# -- MediaCrawler -------------------------------------------------------------------------------

NEW_NOTE = {
    "note_id": "5", "content": "中山路积水了...全文", "create_time": 1749902400,
    "create_date_time": "2025-06-14 12:00:00+08:00", "liked_count": "12", "comments_count": "3",
    "shared_count": "100万+", "note_url": "https://m.weibo.cn/detail/5", "source_keyword": "积水",
    "creator_hash": "0011223344556677", "nickname": "小*", "last_modify_ts": 1,
}  # fmt: skip
OLD_NOTE = {k: v for k, v in NEW_NOTE.items() if k != "creator_hash"} | {
    "user_id": "1234567890", "ip_location": "广西", "avatar": "x", "gender": "f", "profile_url": "y"
}  # fmt: skip


def test_weibo_notes_of_both_generations_trust_the_zoned_time(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [NEW_NOTE, OLD_NOTE])
    assert detect_format(path) == "mediacrawler-jsonl"
    (new, old), refused = read(path)
    assert refused == []
    # create_time says 20:00; it was written eight hours late until 2026-07-30
    assert new.published_at == datetime(2025, 6, 14, 12, 0, tzinfo=BEIJING)
    assert (new.source, new.native_id, new.author) == ("weibo", "5", "0011223344556677")
    assert (old.author, old.place_hint, old.counts.reposts) == ("1234567890", "广西", 1_000_000)


def test_comments_answer_their_post_and_do_not_share_its_numbers(tmp_path: Path) -> None:
    comment = {
        "comment_id": "5", "note_id": "5", "content": "真的", "create_time": 1,
        "create_date_time": "2025-06-14 12:10:00+08:00", "comment_like_count": "1",
        "sub_comment_count": "0", "parent_comment_id": "", "creator_hash": "aa",
    }  # fmt: skip
    answer = comment | {"comment_id": "6", "parent_comment_id": "5"}
    posts, _ = read(write_lines(tmp_path / "c.jsonl", [comment, answer]))
    assert [(p.native_id, p.reply_to) for p in posts] == [("c5", "5"), ("c6", "c5")]


def test_millisecond_times_and_titles_cut_from_the_text(tmp_path: Path) -> None:
    note = {
        "note_id": "a", "type": "normal", "title": "南湖", "desc": "南湖下雨",
        "time": 1749873600000,
        "last_update_time": 1, "liked_count": "1.2万", "collected_count": "None",
        "comment_count": "", "share_count": "2", "note_url": "u", "creator_hash": "h",
    }  # fmt: skip
    posts, _ = read(write_lines(tmp_path / "x.jsonl", [note]))
    assert posts[0].published_at == datetime(2025, 6, 14, 12, 0, tzinfo=BEIJING)
    assert (posts[0].title, posts[0].counts.likes, posts[0].counts.comments) == ("", 12000, 0)


@pytest.mark.parametrize("table", MEDIACRAWLER, ids=lambda t: t.name)
def test_every_table_is_told_from_all_others(table: Any) -> None:
    names = {
        *table.needs, table.id, *table.time, *table.text, *table.author, table.title, table.url,
        table.reposts, table.comments, table.likes, table.views, *table.answers, "add_ts",
    } - {""}  # fmt: skip
    assert table_of(names) is table


def test_json_array_csv_and_xlsx_say_the_same(tmp_path: Path) -> None:
    as_json = tmp_path / "a.json"
    as_json.write_text(json.dumps([NEW_NOTE, NEW_NOTE | {"note_id": "6"}], indent=1))
    rows = [list(NEW_NOTE), [str(v) for v in NEW_NOTE.values()]]
    rows.append(["6", *rows[1][1:]])
    as_csv = write_csv(tmp_path / "a.csv", rows, "utf-8-sig")
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    as_xlsx = tmp_path / "a.xlsx"
    book.save(as_xlsx)
    formats = [detect_format(p) for p in (as_json, as_csv, as_xlsx)]
    assert formats == ["mediacrawler-json", "mediacrawler-csv", "mediacrawler-xlsx"]
    first, second, third = (read(p)[0] for p in (as_json, as_csv, as_xlsx))
    assert [p.native_id for p in first] == ["5", "6"]
    assert first == second == third


def test_a_json_array_that_breaks_off_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([NEW_NOTE, NEW_NOTE])[:-20])
    posts, refused = read(path)
    assert len(posts) == 1
    assert "读不下去" in refused[0].reason


def test_accounts_are_not_posts(tmp_path: Path) -> None:
    row = {"user_id": "1", "nickname": "n", "fans": "3", "follows": "4", "desc": "d"}
    path = write_lines(tmp_path / "creators.jsonl", [row])
    posts, refused = read(path, format="mediacrawler-jsonl")
    assert posts == []
    assert "账号资料" in refused[0].reason


# -- weibo-search and commercial exports ----------------------------------------------------------


def test_weibo_search(tmp_path: Path) -> None:
    header = ["id", "bid", "user_id", "用户昵称", "微博正文", "话题", "转发数", "评论数", "点赞数",
              "发布时间", "retweet_id", "ip", "user_authentication"]  # fmt: skip
    row = ["4383183661430868", "HyTZc60ew", "1669879400", "甲", "下雨了", "", "3", "2", "1",
           "2026-11-23 08:00", "", "广西", "蓝V"]  # fmt: skip
    path = write_csv(tmp_path / "w.csv", [header, row], "utf-8-sig")
    assert detect_format(path) == "weibo-search-csv"
    (post,) = read(path)[0]
    assert post.url == "https://weibo.com/1669879400/HyTZc60ew"
    assert (post.author_kind, post.verified, post.place_hint) == ("organisation", True, "广西")


EXPORT_HEADER = ["标题／微博内容", "日期", "原文/评论链接", "来源网站", "来源网站", "原创/转发",
                 "MD5-父微博ID", "粉丝数", "转发数", "精准地域", ""]  # fmt: skip
EXPORT_ROW = ["邕江涨水\n了", "2026-11-23 08:00:00", "https://weibo.com/1/HyTZc60ew", "新浪微博",
              "x", "原创", "d41d8cd98f00b204e9800998ecf8427e", "1.2万", "3", "广西南宁",
              ""]  # fmt: skip


def test_commercial_export_in_gb18030(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "e.csv", [EXPORT_HEADER, EXPORT_ROW, ["只", "有", "三列"]], "gb18030"
    )
    assert detect_format(path) == "export-csv"
    (post,), (piece,) = read(path)
    assert post.text == "邕江涨水\n了"
    assert (post.source, post.native_id, post.root) == ("weibo", "4383183661430868", "")
    assert (post.followers, post.place_hint) == (12000, "广西南宁")
    assert piece.reason.startswith("第4行") or piece.reason.startswith("第5行")


def test_commercial_export_in_utf_16(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "e.csv", [EXPORT_HEADER, EXPORT_ROW], "utf-16")
    assert detect_format(path) == "export-csv"
    assert read(path)[0][0].text == "邕江涨水\n了"


def test_commercial_export_as_xlsx_with_serial_dates(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(EXPORT_HEADER)
    book.active.append([EXPORT_ROW[0], 45000.5, *EXPORT_ROW[2:]])
    book.active.append([EXPORT_ROW[0], datetime(2026, 11, 23, 8, 0), *EXPORT_ROW[2:]])  # noqa: DTZ001
    path = tmp_path / "e.xlsx"
    book.save(path)
    assert detect_format(path) == "export-xlsx"
    posts, refused = read(path)
    assert refused == []
    assert [p.published_at.astimezone(BEIJING).strftime("%Y-%m-%d %H") for p in posts] == [
        "2023-03-15 12",
        "2026-11-23 08",
    ]


def test_headers_that_are_nearly_known_are_found() -> None:
    mapping = suggest_mapping(["微博内容全文", "发布 日期", "转发 数", "无关"])
    assert mapping["text"] == "微博内容全文"
    assert mapping["time"] == "发布 日期"
    assert mapping["reposts"] == "转发 数"
    assert "无关" not in mapping.values()


def test_a_profile_is_saved_and_read_and_used(tmp_path: Path) -> None:
    mapping = {"text": '说"了"什么', "time": "几时"}
    profile = tmp_path / "ours.toml"
    save_profile(profile, mapping)
    assert load_profile(profile) == mapping
    path = write_csv(
        tmp_path / "p.csv", [['说"了"什么', "几时"], ["雨大", "2026-11-23 08:00"]], "gb18030"
    )
    assert read(path, mapping=load_profile(profile))[0][0].text == "雨大"


@pytest.mark.parametrize(
    ("body", "says"),
    [('[columns]\ntext = "a"', "time"), ('[columns]\nwords = "a"', "words"), ("x", "profile"),
     ("a = 1", "[columns]")],
)  # fmt: skip
def test_a_wrong_profile_says_what_to_write(tmp_path: Path, body: str, says: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(body)
    with pytest.raises(SettingsError, match=says.replace("[", r"\[")):
        load_profile(path)


def test_an_export_without_a_text_column_is_refused_at_once(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "n.csv", [["甲", "乙"], ["1", "2"]], "utf-8")
    with pytest.raises(SettingsError, match="text"):
        read(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    with pytest.raises(SettingsError, match="export it as CSV"):
        detect_format(path)


def test_a_gzip_that_was_cut_off_says_so(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    lines = "\n".join(json.dumps(GOOD | {"id": str(n)}) for n in range(5000))
    path.write_bytes(gzip.compress(lines.encode())[:-200])
    posts, refused = read(path)
    assert len(posts) > 1000
    assert "不完整" in refused[-1].reason


@given(
    st.binary(max_size=400)
    | st.binary(max_size=40).map(b"\x1f\x8b".__add__)
    | st.binary(max_size=40).map(b"\xff\xfe,\x00".__add__)
    | st.text(alphabet='{}[]",:\\\n\x00abc日期全文内容', max_size=200).map(str.encode),
    st.sampled_from(FORMATS),
)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=200,
    deadline=None,
)
def test_no_bytes_break_a_reader(tmp_path: Path, body: bytes, form: str) -> None:
    path = tmp_path / "any"
    path.write_bytes(body)
    mapping = {"text": "全文内容", "time": "日期"} if form.startswith("export") else None
    for item in read_file(path, format=form, fetched_at=FETCHED, mapping=mapping):
        assert isinstance(item, (FetchedPost, Unreadable))
    with contextlib.suppress(SettingsError):
        assert detect_format(path) in FORMATS
