"""Read a drill scenario: a folder of hand-written texts, warnings and their truth.

The format is described in ``crawlers/drill/README.md``. Reading is strict: a scenario with a
mistake does not load, and the error names file and line and says what to write instead.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from crawlers.drill.checks import (
    ScenarioError,
    check_counts,
    check_known,
    check_labels,
    check_one_of,
    check_text,
    check_whole,
    read_offset,
)
from crawlers.drill.posts import (
    AUTHOR_KINDS,
    CHANNELS,
    DrillPost,
    DrillWarning,
    Truth,
    TruthPlace,
    as_truth,
)
from crawlers.drill.spread import MODES, SHAPES, Comment, Spread, as_comment, expand

__all__ = [
    "DrillPost",
    "DrillWarning",
    "Matter",
    "Scenario",
    "ScenarioError",
    "Truth",
    "TruthPlace",
    "load_scenario",
    "scenario_names",
]

SCENARIOS = Path(__file__).parent / "scenarios"
COLOURS = ("blue", "yellow", "orange", "red")
ACTIONS = ("issued", "changed", "lifted")
NATURES = ("rumour", "help", "impact", "service", "official", "noise")

_POST_FIELDS = {
    "key", "at", "channel", "author", "author_kind", "followers", "place_hint", "title", "text",
    "counts", "spread", "truth", "repost_of", "reply_to", "after_release",
}  # fmt: skip
_WARNING_FIELDS = {
    "key", "at", "type", "colour", "action", "station", "sender", "area", "adcode", "title",
    "text", "expires", "supersedes", "truth",
}  # fmt: skip
_SPREAD_FIELDS = {"copies", "over", "shape", "mode", "comments", "pools", "mutate", "channels"}


@dataclass(frozen=True, slots=True)
class Matter:
    """What a group of posts is about. ``nature``: rumour, help, impact, service, official, noise.

    ``claim`` is the checkable claim of a rumour matter, ``verdict`` what is true of it in the
    drill's world (``false``, ``true``, ``mixed``); both empty where nothing is claimed.
    """

    id: str
    title: str
    nature: str
    claim: str = ""
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A night to be played: everything in order of its offset from the start.

    ``start_hour``: Beijing hour of offset zero. ``length``: nothing happens later than this.
    """

    name: str
    title: str
    banner: str
    start_hour: int
    length: timedelta
    posts: tuple[DrillPost, ...]
    warnings: tuple[DrillWarning, ...]
    matters: Mapping[str, Matter]

    def truth(self) -> dict[str, Truth]:
        """The truth per id, of every post and every warning."""
        items: list[DrillPost | DrillWarning] = [*self.posts, *self.warnings]
        return {item.id: item.truth for item in items}


def scenario_names() -> list[str]:
    """The scenarios that come with the product."""
    return sorted(path.parent.name for path in SCENARIOS.glob("*/scenario.toml"))


def load_scenario(name_or_path: str | Path) -> Scenario:
    """Read and check a scenario by its name, or by the path of its folder.

    Raises ``ScenarioError`` when it does not exist or holds a mistake.
    """
    folder = Path(name_or_path)
    if not folder.is_dir():
        folder = SCENARIOS / str(name_or_path)
    head_file = folder / "scenario.toml"
    if not head_file.is_file():
        known = ", ".join(scenario_names()) or "none"
        raise ScenarioError(
            str(name_or_path), f"no such scenario; give a folder or one of: {known}"
        )
    try:
        head = tomllib.loads(head_file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(head_file.name, f"not readable as TOML ({error})") from error
    return _Reader(folder, head).read()


class _Reader:
    """Reads one folder; keeps what later lines may refer to."""

    def __init__(self, folder: Path, head: dict[str, Any]) -> None:
        self.folder = folder
        self.head = head
        where = "scenario.toml"
        for name in ("name", "title", "start_hour", "length", "seed", "names", "place_hints"):
            if name not in head:
                raise ScenarioError(where, f"'{name}' is missing; see the README for its form")
        self.length = read_offset(head["length"], where, "length")
        self.matters = {
            id_: _matter(id_, fields) for id_, fields in head.get("matters", {}).items()
        }
        self.pools = {
            name: tuple(as_comment(item) for item in items)
            for name, items in head.get("comments", {}).items()
        }
        self.seen: dict[str, str] = {}  # key -> where it was written

    def read(self) -> Scenario:
        written: list[DrillPost] = []
        grown: list[DrillPost] = []
        for where, row in self._rows(lambda name: name != "warnings.jsonl"):
            post = self._post(row, where)
            if "spread" in row:
                post, made = expand(
                    post,
                    self._spread(row["spread"], post, where),
                    names=self.head["names"],
                    places=self.head["place_hints"],
                    seed=self.head["seed"],
                    end=self.length,
                )
                grown += made
            written.append(post)
        warnings = tuple(
            sorted(
                (self._warning(row, where) for where, row in self._rows("warnings.jsonl".__eq__)),
                key=lambda w: (w.offset, w.id),
            )
        )
        self._check_links(written, warnings)
        return Scenario(
            name=self.head["name"],
            title=self.head["title"],
            banner=self.head.get("banner", ""),
            start_hour=self.head["start_hour"],
            length=self.length,
            posts=tuple(sorted(_linked(written) + grown, key=lambda p: (p.offset, p.id))),
            warnings=warnings,
            matters=self.matters,
        )

    def _rows(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, dict[str, Any]]]:
        for path in sorted(self.folder.glob("*.jsonl")):
            if not wanted(path.name):
                continue
            try:
                lines = path.read_text(encoding="utf-8").split("\n")
            except UnicodeDecodeError as error:
                raise ScenarioError(path.name, "not UTF-8; save the file as UTF-8") from error
            for number, line in enumerate(lines, start=1):
                where = f"{path.name} line {number}"
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise ScenarioError(where, f"not readable as JSON ({error.msg})") from error
                if not isinstance(row, dict):
                    raise ScenarioError(where, "write one JSON object on each line")
                yield where, row

    def _post(self, row: dict[str, Any], where: str) -> DrillPost:
        check_known(row, _POST_FIELDS, where)
        key = self._key(row, where)
        return DrillPost(
            id=key,
            key=key,
            channel=check_one_of(row, "channel", CHANNELS[:-1], where),  # type: ignore[arg-type]
            author=check_text(row, "author", where),
            author_kind=check_one_of(row, "author_kind", AUTHOR_KINDS, where),  # type: ignore[arg-type]
            followers=check_whole(row.get("followers", 0), "followers", where),
            place_hint=row.get("place_hint", ""),
            title=row.get("title", ""),
            text=check_text(row, "text", where),
            offset=self._at(row, where),
            truth=self._truth(row, where),
            counts=check_counts(row.get("counts", {}), where),
            repost_of=row.get("repost_of"),
            reply_to=row.get("reply_to"),
            root=row.get("repost_of"),
            after_release=bool(row.get("after_release", False)),
        )

    def _warning(self, row: dict[str, Any], where: str) -> DrillWarning:
        check_known(row, _WARNING_FIELDS, where)
        offset = self._at(row, where)
        expires = read_offset(row.get("expires"), where, "expires")
        if expires < offset:
            raise ScenarioError(where, "'expires' lies before 'at'; give a later offset")
        sender = check_text(row, "sender", where)
        adcode = check_text(row, "adcode", where)
        if not re.fullmatch(r"\d{14}", sender) or not sender.startswith(adcode):
            raise ScenarioError(where, "'sender' must be 14 digits that begin with 'adcode'")
        return DrillWarning(
            id=self._key(row, where),
            type=check_text(row, "type", where),
            colour=check_one_of(row, "colour", COLOURS, where),
            action=check_one_of(row, "action", ACTIONS, where),
            station=check_text(row, "station", where),
            sender=sender,
            area=check_text(row, "area", where),
            adcode=adcode,
            title=check_text(row, "title", where),
            text=check_text(row, "text", where),
            offset=offset,
            expires=expires,
            supersedes=row.get("supersedes"),
            truth=self._truth(row, where),
        )

    def _spread(self, value: dict[str, Any], post: DrillPost, where: str) -> Spread:
        check_known(value, _SPREAD_FIELDS, where)
        comments: list[Comment] = [as_comment(item) for item in value.get("comments", [])]
        for pool in value.get("pools", []):
            if pool not in self.pools:
                raise ScenarioError(where, f"no pool '{pool}' under [comments] in scenario.toml")
            comments += self.pools[pool]
        mode = check_one_of({"mode": "repost", **value}, "mode", MODES, where)
        if not comments:
            if mode == "repost":
                raise ScenarioError(where, "a spread by reposts needs 'comments' or 'pools'")
            comments = [Comment("")]
        for comment in comments:
            check_labels(dict(comment.truth), where, partial=True)
        channels = tuple(value.get("channels", [post.channel]))
        for channel in channels:
            check_one_of({"channels": channel}, "channels", CHANNELS[:-1], where)
        return Spread(
            copies=check_whole(value.get("copies"), "copies", where),
            over=read_offset(value.get("over"), where, "over"),
            shape=check_one_of(value, "shape", SHAPES, where),  # type: ignore[arg-type]
            mode=mode,  # type: ignore[arg-type]
            comments=tuple(comments),
            mutate=tuple((old, new) for old, new in value.get("mutate", [])),
            channels=channels,
        )

    def _truth(self, row: dict[str, Any], where: str) -> Truth:
        value = row.get("truth")
        if not isinstance(value, dict):
            raise ScenarioError(where, "'truth' is missing; give kind, sentiment, urgency ...")
        check_labels(value, where)
        if value["matter"] not in self.matters:
            raise ScenarioError(
                where, f"matter '{value['matter']}' is not listed under [matters] in scenario.toml"
            )
        return as_truth(value)

    def _key(self, row: dict[str, Any], where: str) -> str:
        key = check_text(row, "key", where)
        if key in self.seen:
            raise ScenarioError(where, f"key '{key}' was used before, in {self.seen[key]}")
        self.seen[key] = where
        return key

    def _at(self, row: dict[str, Any], where: str) -> timedelta:
        offset = read_offset(row.get("at"), where, "at")
        if offset >= self.length:
            raise ScenarioError(where, f"'at' must be before the end ({self.head['length']})")
        return offset

    def _check_links(self, posts: list[DrillPost], warnings: tuple[DrillWarning, ...]) -> None:
        offsets = {post.id: post.offset for post in posts}
        for post in posts:
            for name, link in (("repost_of", post.repost_of), ("reply_to", post.reply_to)):
                if link is not None and offsets.get(link, post.offset) >= post.offset:
                    raise ScenarioError(
                        self.seen[post.id], f"'{name}' must name the key of an earlier post"
                    )
        issued = {warning.id: warning.offset for warning in warnings}
        for warning in warnings:
            before = warning.supersedes
            if (before is None) != (warning.action == "issued") or (
                before is not None and issued.get(before, warning.offset) >= warning.offset
            ):
                raise ScenarioError(
                    self.seen[warning.id],
                    "'supersedes' names an earlier warning if changed or lifted, else it is absent",
                )


def _matter(id_: str, fields: dict[str, Any]) -> Matter:
    where = f"scenario.toml matter '{id_}'"
    check_known(fields, {"title", "nature", "claim", "verdict"}, where)
    check_one_of(fields, "nature", NATURES, where)
    check_text(fields, "title", where)
    return Matter(id=id_, **fields)


def _linked(posts: list[DrillPost]) -> list[DrillPost]:
    """Hand-written reposts count for their originals too."""
    extra: dict[str, list[timedelta]] = {}
    for post in posts:
        if post.repost_of is not None:
            extra.setdefault(post.repost_of, []).append(post.offset)
    return [
        replace(post, spread_offsets=tuple(sorted([*post.spread_offsets, *extra[post.id]])))
        if post.id in extra
        else post
        for post in posts
    ]
