"""The stored form of posts: what goes in comes out, old forms too."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime

import msgspec
import pytest

from nlp.types import Annotation, ClaimMatch, Place, WarningMention
from pipeline.domain.post import AnnotatedPost, Counts, Media, Post
from pipeline.index.documents import FORM, pack, unpack

AT = datetime(2026, 7, 1, 3, 4, 5, 678000, tzinfo=UTC)
POST = Post(
    id="a" * 24,
    source="weibo",
    native_id="1",
    url="https://example.cn/1",
    author="0f",
    author_kind="person",
    published_at=AT,
    fetched_at=AT,
    text="白沙大道积水过膝",
)
FULL = AnnotatedPost(
    replace(
        POST,
        media=(Media("image", "https://example.cn/1.jpg"),),
        counts=Counts(1, 2, 3, 4),
        counted_at=AT,
        gone=True,
    ),
    Annotation(
        model="m",
        relevant=True,
        kind="impact",
        sentiment="neg",
        urgency=2,
        rumour="none",
        scores={"kind": {"help": 0.25, "impact": 0.75}},
        reasons={"kind": [("积水", 1.5)]},
        unsure=("rumour",),
        hazards=("waterlog",),
        places=(Place("450103", "白沙大道", 0, 4, "road", "", ("450103 青秀区",)),),
        claims=(ClaimMatch("c1", 0.5, "suggest", "积水", ("地点",)),),
        warning=WarningMention("rain", "暴雨", "orange", "issued", flags=("stale",)),
        cues=("water_level",),
        sketch="0123456789abcdef" * 32,
        exact="f" * 16,
        tokens="白沙 大道",
    ),
)
BARE = AnnotatedPost(POST, Annotation("m", False, "irrelevant", "neu", 0, "none"))


@pytest.mark.parametrize("item", [FULL, BARE])
def test_what_goes_in_comes_out(item: AnnotatedPost) -> None:
    assert unpack(pack(item)) == item


@pytest.mark.parametrize("sketch", ["", "ABCD", "xyz", "abc", "0a"])
def test_any_sketch_comes_back(sketch: str) -> None:
    item = replace(FULL, annotation=replace(FULL.annotation, sketch=sketch))
    assert unpack(pack(item)) == item


def test_the_first_form_is_still_read() -> None:
    assert unpack(msgspec.msgpack.encode(FULL)) == FULL


def test_fields_that_were_added_later_get_their_defaults() -> None:
    form, post, note = msgspec.msgpack.decode(pack(BARE))
    assert form == FORM
    shorter = msgspec.msgpack.encode([form, post[:-3], note[:-2]])
    assert unpack(shorter) == BARE


def test_the_order_of_fields_is_part_of_the_form() -> None:
    """Another order needs another ``FORM``: stored documents have values without names."""
    assert [f.name for f in fields(Post)][:9] == [
        "id", "source", "native_id", "url", "author", "author_kind", "published_at",
        "fetched_at", "text",
    ]  # fmt: skip
    assert [f.name for f in fields(Annotation)] == [
        "model", "relevant", "kind", "sentiment", "urgency", "rumour", "scores", "reasons",
        "unsure", "hazards", "places", "claims", "warning", "cues", "sketch", "exact", "tokens",
        "tier", "looks",
    ]  # fmt: skip


def test_it_is_smaller_than_with_names() -> None:
    assert len(pack(FULL)) < 0.75 * len(msgspec.msgpack.encode(FULL))
