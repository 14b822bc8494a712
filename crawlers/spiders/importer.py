"""Files an officer already has, read as posts: no network, nothing is looked up.

Formats: our own JSON lines, MediaCrawler (JSON lines, JSON, CSV, XLSX; both generations),
weibo-search CSV, commercial exports (CSV in gb18030 or UTF-8, XLSX) with a column mapping.
Every row becomes a ``FetchedPost`` or an ``Unreadable`` that says where it stood and why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, cast, get_args

from crawlers import columns, rows
from crawlers.clean import clean_text, parse_count
from crawlers.exports import export_post
from crawlers.rows import Broken, Row
from crawlers.times import ParsedTime, from_excel_serial, parse_time
from pipeline.domain.post import AuthorKind, Counts, FetchedPost, Unreadable
from pipeline.errors import SettingsError

FORMATS = (
    "jsonl",
    "mediacrawler-jsonl",
    "mediacrawler-json",
    "mediacrawler-csv",
    "mediacrawler-xlsx",
    "weibo-search-csv",
    "export-csv",
    "export-xlsx",
)
KEPT_RAW = 64 << 10  # bytes of a refused row that are kept for the dead letters
SOURCE = "import"
_AUTHOR_KINDS = frozenset(get_args(AuthorKind))

ToPost = Callable[[dict[str, Any]], FetchedPost]


class RowProblem(ValueError):
    """This row is no post; the text says why, in Chinese."""


def detect_format(path: Path) -> str:
    """The format of a file, from its content and not its name.

    Raises: SettingsError when it is none that we read, or cannot be read at all.
    """
    try:
        return _detect(path)
    except rows.CUT_OFF as error:
        raise SettingsError(f"{path.name} cannot be read ({error}); export it again") from error


def _detect(path: Path) -> str:
    head = rows.head_of(path)
    if head.startswith(b"PK\x03\x04"):
        first = next((r for r in rows.xlsx_rows(path) if isinstance(r, Row)), None)
        names = list(first.cells) if first else []
        return "mediacrawler-xlsx" if columns.table_of(names) else "export-xlsx"
    stripped = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if stripped.startswith(b"["):
        return "mediacrawler-json"
    if stripped.startswith(b"{"):
        first = next((r for r in rows.json_lines(path) if isinstance(r, Row)), None)
        return "mediacrawler-jsonl" if first and columns.table_of(first.cells) else "jsonl"
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))  # UTF-16, as some spreadsheets save
    if b"," in head.split(b"\n", 1)[0] and (wide or b"\x00" not in head[:512]):
        first = next((r for r in rows.csv_rows(path) if isinstance(r, Row)), None)
        table = columns.table_of(first.cells) if first else None
        if table is columns.WEIBO_SEARCH:
            return "weibo-search-csv"
        return "mediacrawler-csv" if table else "export-csv"
    raise SettingsError(
        f"{path.name} is no JSON lines, JSON array, CSV or XLSX file; export it as CSV or XLSX"
    )


def read_file(
    path: Path,
    *,
    format: str = "auto",  # noqa: A002  the word officers use too
    fetched_at: datetime,
    mapping: Mapping[str, str] | None = None,
) -> Iterator[FetchedPost | Unreadable]:
    """Every row of a file, in its order. ``fetched_at``: aware; times after it are refused.

    ``mapping``: field -> header of a commercial export; without one it is guessed from the
    headers (``crawlers.columns.suggest_mapping``).
    Raises: SettingsError for an unknown format or a mapping that lacks text or time.
    """
    form = detect_format(path) if format == "auto" else format
    if form not in FORMATS:
        raise SettingsError(f"unknown format '{form}'; use auto or one of {', '.join(FORMATS)}")
    if form.startswith("export"):
        mapping = _export_mapping(path, form, mapping)

        def to_post(cells: dict[str, Any]) -> FetchedPost:
            return export_post(cells, mapping, fetched_at)
    elif form == "jsonl":

        def to_post(cells: dict[str, Any]) -> FetchedPost:
            return own_post(cells, fetched_at)
    else:

        def to_post(cells: dict[str, Any]) -> FetchedPost:
            return crawled_post(cells, fetched_at)

    return _posts(_rows(path, form), to_post)


def _rows(path: Path, form: str) -> Iterator[Row | Broken]:
    if form.endswith("jsonl"):
        return rows.json_lines(path)
    if form.endswith("json"):
        return rows.json_array(path)
    return rows.xlsx_rows(path) if form.endswith("xlsx") else rows.csv_rows(path)


def _export_mapping(path: Path, form: str, mapping: Mapping[str, str] | None) -> Mapping[str, str]:
    if mapping is None:
        try:
            first = next((r for r in _rows(path, form) if isinstance(r, Row)), None)
        except rows.CUT_OFF as error:
            raise SettingsError(f"{path.name} cannot be read; export it again") from error
        mapping = columns.suggest_mapping(first.cells if first else ())
    columns.check_mapping(mapping, path.name)
    return mapping


def _posts(source: Iterator[Row | Broken], to_post: ToPost) -> Iterator[FetchedPost | Unreadable]:
    number = 0
    while True:
        try:
            row = next(source, None)
        except rows.CUT_OFF as error:
            reason = f"文件在此之后不完整，未导入（{type(error).__name__}）"
            yield _refused(number + 1, b"", reason)
            return
        if row is None:
            return
        number = row.number
        if isinstance(row, Broken):
            yield _refused(row.number, row.raw, row.reason)
            continue
        try:
            post = to_post(row.cells)
        except ValueError as problem:
            yield _refused(row.number, row.raw or _as_bytes(row.cells), str(problem))
            continue
        yield post


def _refused(number: int, raw: bytes, reason: str) -> Unreadable:
    return Unreadable(SOURCE, raw[:KEPT_RAW], f"第{number}行：{reason}")


def _as_bytes(cells: dict[str, Any]) -> bytes:
    return json.dumps(cells, ensure_ascii=False, default=str).encode("utf-8", "replace")


# -- our own lines and the labelled form --------------------------------------------------------


def own_post(cells: dict[str, Any], fetched_at: datetime) -> FetchedPost:
    """A post from ``{id?, source, text, time|published_at, author?, url?, counts? ...}``.

    Also takes the labelled form, whose counts and kind stand under ``extra``; labels are left out.
    Raises: ValueError saying what is wrong, in Chinese.
    """
    get = cells.get
    text = get("text")
    if not isinstance(text, str) or not (text := clean_text(text)):
        raise RowProblem("没有正文（text）")
    raw_time = get("published_at") or get("time")
    when = _when(raw_time, fetched_at)
    extra = get("extra")
    if not isinstance(extra, dict):
        extra = {}
    kind = get("author_kind")
    return FetchedPost(
        source=_string(get("source")) or SOURCE,
        text=text,
        published_at=when.at,
        fetched_at=fetched_at,
        native_id=_string(get("native_id") or get("id")),
        url=_string(get("url")),
        author=_string(get("author")),
        author_kind=cast(AuthorKind, kind) if kind in _AUTHOR_KINDS else "person",
        title=_string(get("title")),
        followers=parse_count(get("followers")) if get("followers") is not None else -1,
        verified=get("verified") is True,
        precision=when.precision,
        raw_time=str(raw_time),
        reply_to=_string(get("reply_to")),
        repost_of=_string(
            get("repost_of") or (extra.get("kind") == "repost" and extra.get("thread"))
        ),
        root=_string(get("root")),
        place_hint=_string(get("place_hint") or get("place")),
        counts=_own_counts(cells, extra),
    )


def _own_counts(cells: dict[str, Any], extra: dict[str, Any]) -> Counts:
    counts = cells.get("counts")
    where = counts if isinstance(counts, dict) else extra if "reposts" in extra else cells
    get = where.get
    return Counts(
        parse_count(get("reposts")),
        parse_count(get("comments")),
        parse_count(get("likes")),
        parse_count(get("views")),
    )


# -- tables of crawlers -------------------------------------------------------------------------


def crawled_post(cells: dict[str, Any], fetched_at: datetime) -> FetchedPost:
    """A post from a row of MediaCrawler or weibo-search.

    Raises: ValueError saying what is wrong, in Chinese.
    """
    table = columns.table_of(cells)
    if table is None:
        if columns.is_profile(cells):
            raise RowProblem("这是账号资料，不是帖文，未导入")
        raise RowProblem("列名不属于已知的采集工具，请核对格式")
    text = _first(cells, table.text)
    title = _string(cells.get(table.title)) if table.title else ""
    if title and text.startswith(title.removesuffix("...")):
        title = ""  # cut from the text by the crawler itself
    if not text and not title:
        raise RowProblem("没有正文")
    raw_time, when = "", None
    for column in table.time:
        raw_time = _string(cells.get(column))
        when = parse_time(raw_time, fetched_at) if raw_time else None
        if when:
            break
    if when is None:
        raise RowProblem(f"时间读不出：{raw_time[:40]}" if raw_time else "没有发布时间")
    number = _string(cells.get(table.id))
    reply_to = ""
    if table.comment:
        parent, post = table.answers
        above = _string(cells.get(parent)) if parent else ""
        reply_to = f"c{above}" if above not in ("", "0") else _string(cells.get(post))
    return FetchedPost(
        source=table.source,
        text=text or title,
        published_at=when.at,
        fetched_at=fetched_at,
        native_id=f"c{number}" if table.comment and number else number,
        url=_string(cells.get(table.url)) if table.url else _weibo_link(cells, table),
        author=_first(cells, table.author),
        author_kind=_kind(cells.get("user_authentication")),
        title=title if text else "",
        verified=_string(cells.get("user_authentication")) in ("蓝V", "红V", "黄V", "金V"),
        precision=when.precision,
        raw_time=raw_time,
        reply_to=reply_to,
        repost_of=_string(cells.get("retweet_id")),
        place_hint=_string(cells.get(table.place)),
        counts=Counts(
            *(
                parse_count(cells.get(column)) if column else 0
                for column in (table.reposts, table.comments, table.likes, table.views)
            )
        ),
    )


def _weibo_link(cells: dict[str, Any], table: columns.Table) -> str:
    user, letters = _string(cells.get("user_id")), _string(cells.get("bid"))
    if table is columns.WEIBO_SEARCH and user and letters:
        return f"https://weibo.com/{user}/{letters}"
    return ""


def _kind(authentication: Any) -> AuthorKind:
    return "organisation" if authentication == "蓝V" else "person"


# -- cells --------------------------------------------------------------------------------------


def _when(value: Any, fetched_at: datetime) -> ParsedTime:
    if value is None or value == "":
        raise RowProblem("没有发布时间（time 或 published_at）")
    found = None
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        found = parse_time(value, fetched_at)
        if found is None and isinstance(value, (int, float)):
            found = from_excel_serial(float(value), fetched_at)
    if found is None:
        raise RowProblem(f"时间读不出或在将来：{str(value)[:40]}")
    return found


def _first(cells: dict[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        if found := _string(cells.get(name)):
            return found
    return ""


def _string(value: Any) -> str:
    """A cell as clean text; what tools write for nothing is empty."""
    if value is None or value is False:
        return ""
    text = clean_text(value if isinstance(value, str) else str(value))
    return "" if text in ("None", "null", "nan", "NaN") else text
