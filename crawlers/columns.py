"""Which column of a file holds what: the tables of MediaCrawler, weibo-search and exports.

Facts: MediaCrawler's own models before and after 2026-07-01, when user ids and IP places gave
way to ``creator_hash``; header variants seen in commercial exports. Only the newer generation
has ``creator_hash``; the older one's ids are used for nothing but the keyed hash at the door.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a crawler: ``needs`` are columns that together tell it from all others.

    ``text``, ``time``, ``author``: columns in order of trust, the first filled one counts.
    ``comment``: the native id gets a ``c`` in front, because posts and comments of one platform
    may share numbers; ``answers``: (parent comment column, post column).
    """

    name: str
    source: str
    needs: tuple[str, ...]
    id: str
    time: tuple[str, ...]
    text: tuple[str, ...] = ("content",)
    title: str = ""
    url: str = ""
    place: str = "ip_location"
    author: tuple[str, ...] = ("creator_hash", "user_id", "nickname")
    reposts: str = ""
    comments: str = ""
    likes: str = ""
    views: str = ""
    comment: bool = False
    answers: tuple[str, str] = ("", "")


_TIEBA_AUTHOR = ("creator_hash", "user_link", "user_nickname")
_ZHIHU_AUTHOR = ("creator_hash", "user_id", "user_nickname")

# Comments first: their tables hold the id of the post as well. weibo's create_time is eight hours
# late in files made before 2026-07-30, so create_date_time, which names its zone, comes first.
MEDIACRAWLER: tuple[Table, ...] = (
    Table(
        "weibo_note_comment", "weibo", ("comment_id", "note_id", "create_date_time"), "comment_id",
        ("create_date_time", "create_time"), likes="comment_like_count",
        comments="sub_comment_count", comment=True, answers=("parent_comment_id", "note_id"),
    ),
    Table(
        "weibo_note", "weibo", ("note_id", "create_date_time"), "note_id",
        ("create_date_time", "create_time"), url="note_url", reposts="shared_count",
        comments="comments_count", likes="liked_count",
    ),
    Table(
        "tieba_comment", "tieba", ("comment_id", "note_id", "tieba_name"), "comment_id",
        ("publish_time",), url="note_url", author=_TIEBA_AUTHOR, comments="sub_comment_count",
        comment=True, answers=("parent_comment_id", "note_id"),
    ),
    Table(
        "tieba_note", "tieba", ("note_id", "tieba_name"), "note_id", ("publish_time",),
        ("desc",), "title", "note_url", author=_TIEBA_AUTHOR, comments="total_replay_num",
    ),
    Table(
        "xhs_note_comment", "xhs", ("comment_id", "note_id", "create_time"), "comment_id",
        ("create_time",), likes="like_count", comments="sub_comment_count", comment=True,
        answers=("parent_comment_id", "note_id"),
    ),
    Table(
        "xhs_note", "xhs", ("note_id", "desc", "time"), "note_id", ("time",), ("desc",), "title",
        "note_url", reposts="share_count", comments="comment_count", likes="liked_count",
    ),
    Table(
        "douyin_aweme_comment", "douyin", ("comment_id", "aweme_id"), "comment_id",
        ("create_time",), likes="like_count", comments="sub_comment_count", comment=True,
        answers=("parent_comment_id", "aweme_id"),
    ),
    Table(
        "douyin_aweme", "douyin", ("aweme_id", "desc"), "aweme_id", ("create_time",), ("desc",),
        "title", "aweme_url", reposts="share_count", comments="comment_count",
        likes="liked_count",
    ),
    Table(
        "bilibili_video_comment", "bilibili", ("comment_id", "video_id", "parent_comment_id"),
        "comment_id", ("create_time",), likes="like_count", comments="sub_comment_count",
        comment=True, answers=("parent_comment_id", "video_id"),
    ),
    Table(
        "kuaishou_video_comment", "kuaishou", ("comment_id", "video_id"), "comment_id",
        ("create_time",), comments="sub_comment_count", comment=True, answers=("", "video_id"),
    ),
    Table(
        "bilibili_video", "bilibili", ("video_id", "video_danmaku"), "video_id",
        ("create_time",), ("desc",), "title", "video_url", reposts="video_share_count",
        comments="video_comment", likes="liked_count", views="video_play_count",
    ),
    Table(
        "kuaishou_video", "kuaishou", ("video_id", "viewd_count"), "video_id", ("create_time",),
        ("desc",), "title", "video_url", likes="liked_count", views="viewd_count",
    ),
    Table(
        "bilibili_up_dynamic", "bilibili", ("dynamic_id", "pub_ts"), "dynamic_id", ("pub_ts",),
        ("text",), author=("creator_hash", "user_id", "user_name"), reposts="total_forwards",
        comments="total_comments", likes="total_liked",
    ),
    Table(
        "zhihu_comment", "zhihu", ("comment_id", "content_id"), "comment_id", ("publish_time",),
        author=_ZHIHU_AUTHOR, likes="like_count", comments="sub_comment_count", comment=True,
        answers=("parent_comment_id", "content_id"),
    ),
    Table(
        "zhihu_content", "zhihu", ("content_id", "content_text"), "content_id",
        ("created_time", "updated_time"), ("content_text", "desc"), "title", "content_url",
        author=_ZHIHU_AUTHOR, comments="comment_count", likes="voteup_count",
    ),
)  # fmt: skip

WEIBO_SEARCH = Table(
    "weibo_search", "weibo", ("bid", "微博正文", "发布时间"), "id", ("发布时间",), ("微博正文",),
    place="ip", author=("user_id", "用户昵称"), reposts="转发数", comments="评论数",
    likes="点赞数",
)  # fmt: skip

PROFILE_ROWS = ({"fans", "follows"}, {"total_fans"}, {"fan_id", "up_id"})


def table_of(columns: Collection[str]) -> Table | None:
    """The table that has these columns; ``None`` for none of them and for lists of accounts."""
    names = set(columns)
    for table in MEDIACRAWLER:
        if names.issuperset(table.needs):
            return table
    return WEIBO_SEARCH if names.issuperset(WEIBO_SEARCH.needs) else None


def is_profile(columns: Collection[str]) -> bool:
    """Whether these are the columns of a list of accounts, which is none of our business."""
    names = set(columns)
    return any(names.issuperset(group) for group in PROFILE_ROWS)


# Field -> headers, in order of trust. From analysis scripts of eight export variants.
EXPORT_HEADERS: dict[str, tuple[str, ...]] = {
    "text": ("全文内容", "微博内容", "标题／微博内容", "正文", "内容", "微博正文", "摘要"),
    "title": ("标题／微博内容", "标题"),
    "time": ("日期", "发布日期", "发布时间", "时间"),
    "url": ("原文/评论链接", "原文链接", "链接", "网址", "URL"),
    "native_id": ("MD5-mid", "mid", "微博ID"),
    "author": ("作者ID", "MD5-作者ID", "原文作者", "作者", "用户昵称", "昵称"),
    "relation": ("原创/转发",),
    "original": ("原微博内容", "根微博标题"),
    "parent": ("父微博ID", "MD5-父微博ID"),
    "root": ("MD5-根微博mid",),
    "site": ("来源网站", "平台", "来源"),
    "media": ("媒体类型",),
    "verified": ("认证类型",),
    "followers": ("粉丝数",),
    "place": ("精准地域", "信源地域", "用户注册地", "地域", "地区", "城市"),
    "reposts": ("转发数", "转"),
    "comments": ("评论数", "评"),
    "likes": ("点赞数", "赞"),
    "views": ("阅读数/浏览热度", "阅读数"),
}
REQUIRED = ("text", "time")
ALIKE = 0.8  # difflib ratio from which an unknown header is taken for a known one


def suggest_mapping(headers: Iterable[str]) -> dict[str, str]:
    """Field -> header of this file, exact names first, then the most alike (ratio >= 0.8)."""
    present = [header for header in headers if header and header.strip()]
    plain: dict[str, str] = {}
    for header in present:
        plain.setdefault(_plain(header), header)
    mapping: dict[str, str] = {}
    for field, names in EXPORT_HEADERS.items():
        for name in names:
            if _plain(name) in plain:
                mapping[field] = plain[_plain(name)]
                break
    taken = set(mapping.values())
    for field, names in EXPORT_HEADERS.items():
        if field in mapping:
            continue
        best, ratio = "", ALIKE
        for header in present:
            if header in taken or len(_plain(header)) < 2:
                continue
            for name in names:
                alike = difflib.SequenceMatcher(None, _plain(name), _plain(header)).ratio()
                if alike > ratio or (alike == ratio and not best):
                    best, ratio = header, alike
        if best:
            mapping[field] = best
            taken.add(best)
    return mapping


def load_profile(path: Path) -> dict[str, str]:
    """A saved mapping: ``[columns]`` with ``field = "header"``.

    Raises: SettingsError naming the field and what to write.
    """
    try:
        columns = tomllib.loads(path.read_text(encoding="utf-8")).get("columns")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path.name} is not a readable profile: {error}") from error
    if not isinstance(columns, dict):
        raise SettingsError(
            f'{path.name}: write a table [columns] with lines such as text = "正文"'
        )
    check_mapping(columns, path.name)
    return {str(field): str(header) for field, header in columns.items()}


def save_profile(path: Path, mapping: Mapping[str, str]) -> None:
    """Write a mapping that ``load_profile`` reads, whole or not at all."""
    check_mapping(mapping, path.name)
    quoted = {f: h.replace("\\", "\\\\").replace('"', '\\"') for f, h in mapping.items()}
    body = "[columns]\n" + "".join(f'{f} = "{h}"\n' for f, h in sorted(quoted.items()))
    new = path.with_suffix(".new")
    new.write_text(body, encoding="utf-8")
    new.replace(path)


def check_mapping(mapping: Mapping[str, object], where: str) -> None:
    """Raises: SettingsError when a field is unknown, empty or missing."""
    for field, header in mapping.items():
        if field not in EXPORT_HEADERS:
            known = ", ".join(EXPORT_HEADERS)
            raise SettingsError(f"{where}: unknown field '{field}'; use one of {known}")
        if not isinstance(header, str) or not header.strip():
            raise SettingsError(f"{where}: '{field}' needs the name of a column")
    for field in REQUIRED:
        if field not in mapping:
            raise SettingsError(f"{where}: no column for '{field}'; write {field} = \"its header\"")


def _plain(header: str) -> str:
    return re.sub(r"[\s_\-/／·（）()]+", "", unicodedata.normalize("NFKC", header)).lower()
