"""How one hand-written post becomes many: reposts with a reason, and pasted copies.

Everything is drawn from a generator seeded with the scenario's seed and the post's key, so the
same scenario gives the same posts on every machine, and editing one text moves no other.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, TypeVar

from crawlers.drill.posts import Channel, DrillPost, Truth

T = TypeVar("T")

Shape = Literal["burst", "steady", "decay"]
Mode = Literal["repost", "copy"]
SHAPES: tuple[str, ...] = ("burst", "steady", "decay")
MODES: tuple[str, ...] = ("repost", "copy")

CHAIN_SHARE = 0.3  # share of reposts that repost an earlier repost instead of the original
_TITLED = ("forum", "board", "news", "rss_blog")  # sites whose posts have a title
MUTATE_SHARE = 0.7  # share of copies that were changed while being passed on


@dataclass(frozen=True, slots=True)
class Comment:
    """A repost reason, and what it changes in the truth of the chain as a whole."""

    text: str
    truth: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Spread:
    """How often, how fast and with which words a post is passed on."""

    copies: int
    over: timedelta
    shape: Shape
    mode: Mode
    comments: tuple[Comment, ...]
    mutate: tuple[tuple[str, str], ...]
    channels: tuple[Channel, ...]


def expand(
    post: DrillPost,
    spread: Spread,
    *,
    names: Sequence[str],
    places: Sequence[str],
    seed: int,
    end: timedelta,
) -> tuple[DrillPost, list[DrillPost]]:
    """The post with its repost times filled in, and the posts that pass it on.

    ``names`` and ``places`` are the pools of account names and shown places. Offsets that would
    fall past ``end`` are drawn back before it.
    """
    draw = random.Random(f"{seed}:{post.key}")  # noqa: S311  repeatable, guards nothing
    offsets = sorted(_offset(draw, post.offset, spread, end) for _ in range(spread.copies))
    comments = _cycle(draw, spread.comments, spread.copies)
    authors = _cycle(draw, [n for n in names if n != post.author], spread.copies)
    made: list[DrillPost] = []
    plain: list[DrillPost] = []  # reposts that say what the original says: safe to chain on
    for number, (offset, comment, author) in enumerate(
        zip(offsets, comments, authors, strict=True), start=1
    ):
        truth = _changed(post.truth, comment)
        common: dict[str, Any] = {
            "id": f"{post.key}-{number:03d}",
            "author": author,
            "author_kind": "person",
            "followers": int(10 ** draw.uniform(1.0, 3.6)),
            "place_hint": draw.choice(list(places)),
            "offset": offset,
            "truth": truth,
            "counts": _small_counts(draw),
            "written": False,
            "spread_offsets": (),
            "reply_to": None,
        }
        if spread.mode == "copy":
            channel = draw.choice(spread.channels)
            text = _mutated(draw, post.text, spread.mutate)
            made.append(
                replace(
                    post,
                    **common,
                    channel=channel,
                    title=_title(text) if channel in _TITLED else "",
                    text=_pasted(text, comment.text),
                )
            )
            continue
        parent = post
        if plain and draw.random() < CHAIN_SHARE:
            parent = draw.choice(plain)
        repost = replace(
            post,
            **common,
            title="",
            text=f"{comment.text}//@{parent.author}:{parent.text}",
            repost_of=parent.id,
            root=post.id,
        )
        made.append(repost)
        if not comment.truth and parent is post:  # chains stay three links long at most
            plain.append(repost)
    if spread.mode == "copy":
        return post, made
    return replace(post, spread_offsets=tuple(offsets)), made


def _offset(draw: random.Random, start: timedelta, spread: Spread, end: timedelta) -> timedelta:
    u = draw.random()
    if spread.shape == "burst":
        u = u**2.5  # most within the first third
    elif spread.shape == "decay":
        u = u**1.5
    late = start + timedelta(seconds=20 + int(u * spread.over.total_seconds()))
    return min(late, end - timedelta(seconds=1 + draw.randrange(300)))


def _cycle(draw: random.Random, items: Sequence[T], n: int) -> list[T]:
    """``n`` items: each of the pool once, shuffled, before any comes a second time."""
    out: list[T] = []
    while len(out) < n:
        deck = list(items)
        draw.shuffle(deck)
        out += deck
    return out[:n]


def _changed(truth: Truth, comment: Comment) -> Truth:
    return replace(truth, **dict(comment.truth)) if comment.truth else truth


def _mutated(draw: random.Random, text: str, pairs: Sequence[tuple[str, str]]) -> str:
    """The text with up to two of the possible changes made in it."""
    usable = [pair for pair in pairs if pair[0] in text]
    if not usable or draw.random() > MUTATE_SHARE:
        return text
    for old, new in draw.sample(usable, min(len(usable), draw.choice((1, 1, 2)))):
        text = text.replace(old, new, 1)
    return text


def _title(text: str) -> str:
    """What people write into a title box when they paste: the first clause."""
    return re.split(r"[，。！？：；]", text, maxsplit=1)[0][:24]


def _pasted(text: str, comment: str) -> str:
    return f"{comment}\n{text}" if comment else text


def _small_counts(draw: random.Random) -> dict[str, int]:
    """Few react to a repost: nearly all counts are small, one in twenty is not."""
    top = 40 if draw.random() < 0.05 else 4
    likes = draw.randrange(top)
    return {
        "reposts": 0,
        "comments": draw.randrange(top),
        "likes": likes,
        "views": likes * 30 + draw.randrange(20, 400),
    }


def as_comment(value: Any) -> Comment:
    """A comment from its file form: a text, or ``{text, truth: {changes}}``."""
    if isinstance(value, str):
        return Comment(value)
    return Comment(value["text"], tuple(value.get("truth", {}).items()))
