"""Sources: what is read, how often, and with which selectors, from ``sources.toml``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args
from urllib.parse import urlsplit

from pipeline.domain.post import AuthorKind
from pipeline.errors import SettingsError
from pipeline.toml_file import read_toml

SpiderName = Literal["feed", "site", "warning", "weibo", "claimreview"]
SPIDERS: tuple[str, ...] = get_args(SpiderName)
SHORTEST_PERIOD_S = 30.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Selectors:
    """CSS selectors of a site (``::text`` and ``::attr(x)`` allowed). Empty = not there.

    On the list page: ``item`` is one entry; within it ``link``, ``title``, ``time``, ``id``,
    ``text``; ``next`` is the link to the next page, or ``cursor`` a value on the page that goes
    into the query parameter ``cursor_param``. Without ``link`` the entry itself is the post.
    On the detail page: ``body``, ``detail_title``, ``detail_time``, ``detail_author``,
    ``detail_id``; ``reply`` is one answer, with ``reply_body``, ``reply_time``,
    ``reply_author``, ``reply_id``, ``reply_to``. ``reposts``, ``comments``, ``likes``, ``views``,
    ``place``, ``author`` are looked for where the post stands.
    """

    item: str = ""
    link: str = ""
    id: str = ""
    title: str = ""
    time: str = ""
    text: str = ""
    author: str = ""
    place: str = ""
    next: str = ""
    cursor: str = ""
    cursor_param: str = ""
    body: str = ""
    detail_title: str = ""
    detail_time: str = ""
    detail_author: str = ""
    detail_id: str = ""
    reply: str = ""
    reply_id: str = ""
    reply_body: str = ""
    reply_time: str = ""
    reply_author: str = ""
    reply_to: str = ""
    reposts: str = ""
    comments: str = ""
    likes: str = ""
    views: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """One source.

    ``name``: unique, in logs and health. ``title``: what the screen calls it. ``platform``: the
    ``source`` of its posts (default: the name); two sources of one platform share post ids.
    ``every_s``: seconds between two visits. ``pages``: list pages at most per visit.
    ``keywords``: only posts with one of them; none = all. ``expect_per_hour``: usual new posts;
    0 = unknown. ``empty_ok``: an empty list is ordinary (warning lists). ``accept_exercise``: take
    CAP messages marked Exercise (drills). ``hosts``: further hosts that its pages may link to.
    ``waiver``: who allowed the use of a platform that forbids robots, and when.
    """

    name: str
    spider: SpiderName
    url: str
    every_s: float
    title: str = ""
    platform: str = ""
    author_kind: AuthorKind = "person"
    keywords: tuple[str, ...] = ()
    expect_per_hour: float = 0.0
    enabled: bool = True
    pages: int = 3
    empty_ok: bool = False
    accept_exercise: bool = False
    hosts: tuple[str, ...] = ()
    waiver: str = ""
    selectors: Selectors = field(default_factory=Selectors)

    @property
    def post_source(self) -> str:
        return self.platform or self.name

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def is_local(self) -> bool:
        return self.host in LOOPBACK


_KEYS: dict[str, tuple[type, ...]] = {
    "name": (str,), "spider": (str,), "url": (str,), "every_s": (int, float), "title": (str,),
    "platform": (str,), "author_kind": (str,), "keywords": (list,),
    "expect_per_hour": (int, float), "enabled": (bool,), "pages": (int,), "empty_ok": (bool,),
    "accept_exercise": (bool,), "hosts": (list,), "waiver": (str,), "selectors": (dict,),
}  # fmt: skip
_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false",
          list: "a list of texts", dict: "a table"}  # fmt: skip
_SELECTOR_NAMES = tuple(f.name for f in fields(Selectors))


def read_sources(path: Path) -> list[Source]:
    """The sources of a file, those switched off included. A missing file means none.

    Raises: SettingsError naming the source and the key, and what to write.
    """
    if not path.exists():
        return []
    body = read_toml(path)
    unknown = set(body) - {"source"}
    if unknown:
        raise SettingsError(f"{path.name}: unknown '{min(unknown)}'; write tables [[source]]")
    rows = body.get("source", [])
    if not isinstance(rows, list):
        raise SettingsError(f"{path.name}: write [[source]] with two brackets")
    sources: list[Source] = []
    for number, row in enumerate(rows, start=1):
        source = as_source(row, f"{path.name}, source {number}")
        if any(other.name == source.name for other in sources):
            raise SettingsError(f"{path.name}: the name '{source.name}' is used twice; rename one")
        sources.append(source)
    return sources


def as_source(row: Mapping[str, Any], where: str) -> Source:
    """A source from its table, checked. Raises: SettingsError."""
    if isinstance(row.get("name"), str):
        where = f"{where} ({row['name']})"
    for key, value in row.items():
        if key not in _KEYS:
            raise SettingsError(f"{where}: unknown key '{key}'; known: {', '.join(_KEYS)}")
        allowed = _KEYS[key]
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise SettingsError(f"{where}: {key} must be {_WORDS[allowed[-1]]}")
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise SettingsError(f"{where}: {key} must be a list of texts")
    for key in ("name", "spider", "url", "every_s"):
        if key not in row:
            raise SettingsError(f"{where}: {key} is missing")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", row["name"]):
        raise SettingsError(f"{where}: name takes a-z, 0-9, - and _, at most 64 characters")
    if row["spider"] not in SPIDERS:
        raise SettingsError(f"{where}: spider must be one of {', '.join(SPIDERS)}")
    parts = urlsplit(row["url"])
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"{where}: url must begin with http:// or https:// and name a host")
    if parts.username or parts.password:
        raise SettingsError(f"{where}: url must not hold a password; this file is no place for it")
    if row["every_s"] < SHORTEST_PERIOD_S:
        raise SettingsError(f"{where}: every_s must be {SHORTEST_PERIOD_S:.0f} or more")
    if row.get("author_kind", "person") not in get_args(AuthorKind):
        raise SettingsError(
            f"{where}: author_kind must be one of {', '.join(get_args(AuthorKind))}"
        )
    if not 1 <= row.get("pages", 1) <= 50:
        raise SettingsError(f"{where}: pages must be 1 to 50")
    selectors = _selectors(row, where)
    if row["spider"] == "weibo" and row.get("enabled", True) and not row.get("waiver", "").strip():
        raise SettingsError(
            f"{where}: the weibo spider is off unless waiver says who allowed its use and when; "
            "prefer importing an export"
        )
    values = dict(row) | {
        "spider": cast(SpiderName, row["spider"]),
        "keywords": tuple(row.get("keywords", ())),
        "hosts": tuple(row.get("hosts", ())),
        "selectors": selectors,
    }
    return Source(**values)


def _selectors(row: Mapping[str, Any], where: str) -> Selectors:
    given = row.get("selectors", {})
    for key, value in given.items():
        if key not in _SELECTOR_NAMES:
            known = ", ".join(_SELECTOR_NAMES)
            raise SettingsError(f"{where}: unknown selector '{key}'; known: {known}")
        if not isinstance(value, str):
            raise SettingsError(f"{where}: selector '{key}' must be a text")
        _check_css(value, f"{where}: selector '{key}'")
    if row["spider"] == "site":
        for key in ("item",):
            if not given.get(key):
                raise SettingsError(f"{where}: selectors.item is missing; it marks one list entry")
        if not given.get("link") and not given.get("text"):
            raise SettingsError(f"{where}: selectors need link (detail page) or text (in the list)")
    return Selectors(**given)


def _check_css(value: str, where: str) -> None:
    from cssselect import SelectorError  # late: only who reads sources needs the parser
    from parsel import Selector

    try:
        Selector(text="<p/>").css(value or "p")
    except (SelectorError, ValueError) as error:
        raise SettingsError(f"{where} is no CSS selector: {error}") from error
