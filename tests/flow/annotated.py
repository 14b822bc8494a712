"""Annotated posts for tests of the detector: written by hand or drawn at random, never a model."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from nlp.duplicates import shingles
from nlp.types import Annotation, ClaimMatch, Place
from pipeline.domain.post import AnnotatedPost, Counts, Post

START = datetime(2026, 10, 18, 10, 0, tzinfo=UTC)  # 18:00 in Nanning


def sketch_of(text: str) -> str:
    """A MinHash of 64 values over character 4-grams, as hexadecimal digits."""
    grams = shingles(text, 4)
    if len("".join(text.split())) < 8:
        return ""
    raw = [hashlib.blake2b(g.encode(), digest_size=8).digest() for g in grams]
    codes = [int.from_bytes(r, "big") for r in raw]
    values = [
        min(((a * 2 + 1) * c + a * 0x9E3779B97F4A7C15) % (1 << 61) % (1 << 32) for c in codes)
        for a in range(1, 65)
    ]
    return "".join(f"{v:08x}" for v in values)


def post(
    number: int,
    text: str,
    minutes: float = 0.0,
    *,
    kind: Any = "talk",
    sentiment: Any = "neu",
    urgency: int = 0,
    rumour: Any = "none",
    hazards: tuple[str, ...] = ("rain",),
    places: tuple[Place, ...] = (Place("450100", "南宁", level="city"),),
    claims: tuple[ClaimMatch, ...] = (),
    relevant: bool = True,
    counts: Counts | None = None,
    delay_s: float = 30.0,
    help_p: float | None = None,
    sketch: bool = True,
    **more: Any,
) -> AnnotatedPost:
    """One annotated post, ``minutes`` after the start of the night."""
    at = START + timedelta(minutes=minutes)
    values: dict[str, Any] = {
        "id": hashlib.sha256(str(number).encode()).hexdigest()[:24],
        "source": "weibo_like",
        "native_id": str(number),
        "url": f"https://example.org/p/{number}",
        "author": f"{number:016x}",
        "author_kind": "person",
        "published_at": at,
        "fetched_at": at + timedelta(seconds=delay_s),
        "text": text,
        "counts": counts or Counts(),
        "counted_at": at + timedelta(seconds=delay_s),
    }
    values |= more
    p = help_p if help_p is not None else float(kind == "help")
    return AnnotatedPost(
        Post(**values),
        Annotation(
            model="test",
            relevant=relevant,
            kind=kind,
            sentiment=sentiment,
            urgency=urgency,
            rumour=rumour,
            scores={"kind": {"help": p}},
            hazards=hazards,
            places=places,
            claims=claims,
            sketch=sketch_of(text) if sketch else "",
        ),
    )


_ROADS = ("葛村路", "长堽路", "白沙大道", "大学路", "秀灵路")
_DAMS = ("大王滩水库", "屯六水库", "凤亭河水库")
_COUNTIES = ("450103", "450105", "450107", "450108")
_TAILS = "真的假的啊今晚快点走吧车里老人孩子水好深邻居说看到了没人管电话打不通雨还在下".strip()


def night(seed: int, count: int, *, days: float = 0.25) -> list[AnnotatedPost]:
    """A random night: every kind, reposts, copies, late and repeated posts, newer counts."""
    rng = random.Random(seed)
    made: list[AnnotatedPost] = []
    minutes = 0.0
    for number in range(count):
        minutes += rng.expovariate(count / (days * 1440))
        at = max(0.0, minutes - (rng.random() * 200 if rng.random() < 0.05 else 0))
        tail = "".join(rng.sample(_TAILS, 9)) + str(number)
        road, dam, county = rng.choice(_ROADS), rng.choice(_DAMS), rng.choice(_COUNTIES)
        on_road = (Place(county, road, level="road"),)
        counts = Counts(rng.randrange(60), rng.randrange(9), rng.randrange(30), rng.randrange(900))
        more: dict[str, Any] = {
            "counts": counts,
            "author_kind": rng.choices(("person", "media", "government"), (20, 2, 1))[0],
            "source": rng.choice(("weibo_like", "forum", "news")),
            "sentiment": rng.choice(("neg", "neg", "neu", "pos")),
        }
        what = rng.random()
        if made and what < 0.12:
            origin = rng.choice(made).post
            text = rng.choice(("转发微博", f"{tail}//@某人:{origin.text}"))
            item = post(
                number, text, at, repost_of=origin.id, sketch=len(text) > 8,
                relevant=rng.random() < 0.5, rumour=rng.choice(("none", "unverified")), **more,
            )  # fmt: skip
        elif made and what < 0.2:
            item = post(number, rng.choice(made).post.text + "！", at, **more)
        elif what < 0.35:
            item = post(
                number, f"听说{dam}今晚要泄洪，{tail}", at,
                rumour=rng.choice(("unverified", "unverified", "question", "debunk")),
                hazards=("flood",), places=(Place(county, dam, level="reservoir"),), **more,
            )  # fmt: skip
        elif what < 0.4:
            claims = (ClaimMatch(f"R{rng.randrange(3)}", 0.7, rng.choice(("suggest", "confirm"))),)
            item = post(number, f"网传消息{tail}", at, rumour="unverified", claims=claims, **more)
        elif what < 0.55:
            item = post(
                number, f"{road}积水很深{tail}", at, kind="impact", urgency=rng.randrange(4),
                hazards=("waterlog",), places=on_road, **more,
            )  # fmt: skip
        elif what < 0.65:
            item = post(number, f"气象局预报又不准{tail}", at, kind="service", **more)
        elif what < 0.7:
            phone = f"138****{rng.randrange(10, 60)}**"
            item = post(
                number, f"求助！{road}有老人被困，电话{phone}{tail}", at, kind="help", urgency=3,
                places=on_road, help_p=rng.random(), sealed_contact="AAEC", **more,
            )  # fmt: skip
        elif what < 0.75:
            item = post(
                number, f"南宁南路广告{tail}", at, kind="irrelevant", relevant=False, **more
            )
        else:
            item = post(number, f"雨好大啊{tail}", at, places=on_road[:1], **more)
        made.append(item)
        if rng.random() < 0.1:  # seen again, with newer counts or the very same
            old = rng.choice(made)
            grown = old.post.counts.reposts + rng.choice((0, 7, 300))
            again = Counts(grown, old.post.counts.comments, old.post.counts.likes + 1)
            made.append(
                AnnotatedPost(
                    _with(old.post, counts=again, counted_at=START + timedelta(minutes=minutes)),
                    old.annotation,
                )
            )
    return made


def _with(held: Post, **changes: Any) -> Post:
    from dataclasses import replace

    return replace(held, **changes)
