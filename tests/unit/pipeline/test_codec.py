"""Bytes of the two post topics."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from nlp.types import ClaimMatch, Place, WarningMention
from pipeline.bus.codec import decode_annotated, decode_post, encode_annotated, encode_post
from pipeline.domain.post import Media
from pipeline.errors import BadMessage
from tests.fakes import NIGHT, annotated, post


def changed(value: bytes, **body: Any) -> bytes:
    whole = json.loads(value)
    whole["body"].update(body)
    return json.dumps(whole).encode()


def test_a_post_survives_the_way_there_and_back() -> None:
    before = post(
        1,
        text="大雨\n“//@某人” 😀",
        media=(Media("image", "https://example.cn/a.jpg", "ab"),),
        counted_at=None,
        published_at=NIGHT + timedelta(microseconds=1),
        gone=True,
    )
    after, message_id = decode_post(encode_post(before, NIGHT, cause="c"))
    assert after == before
    assert len(message_id) == 36


def test_an_annotated_post_survives_the_way_there_and_back() -> None:
    before = annotated(
        2,
        claims=(ClaimMatch("R0001", 0.875, "confirm", "水库泄洪", ("数字",)),),
        warning=WarningMention(
            "rain", "暴雨", "red", "issued", "南宁市气象台", "13:05", ("stale",)
        ),
        places=(Place("450103", "青秀区", 0, 3, "county", "唯一", ("450102",)),),
        unsure=("kind",),
        cues=("hearsay",),
    )
    assert decode_annotated(encode_annotated(before, NIGHT)) == before


def test_unknown_fields_are_accepted_and_an_unknown_major_is_not() -> None:
    value = encode_post(post(1), NIGHT)
    assert decode_post(changed(value, mood="new in 1.7"))[0] == post(1)
    with pytest.raises(BadMessage, match=r"post/2.*another version"):
        decode_post(value.replace(b"post/1", b"post/2"))
    other_form = changed(value, text=["a", "list"]).replace(b"post/1", b"post/2")
    with pytest.raises(BadMessage, match="another version"):
        decode_post(other_form)
    with pytest.raises(BadMessage, match="annotated-post/1"):
        decode_post(encode_annotated(annotated(1), NIGHT))


def test_times_come_back_in_utc() -> None:
    beijing = timezone(timedelta(hours=8))
    value = changed(
        encode_post(post(1), NIGHT),
        published_at=NIGHT.astimezone(beijing).isoformat(),
    )
    got = decode_post(value)[0]
    assert got.published_at == NIGHT
    assert got.published_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"published_at": "2026-06-12T14:00:00"}, "published_at has no time zone"),
        ({"counted_at": "2026-06-12T14:00:00"}, "counted_at has no time zone"),
        ({"text": "a\0b"}, "NUL"),
        ({"place_hint": "\0"}, "NUL"),
        ({"id": ""}, "no id"),
        ({"text": 5}, "post/1"),
        ({"author_kind": "robot"}, "post/1"),
    ],
)
def test_a_bad_body_is_refused_with_its_reason(body: dict[str, Any], why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        decode_post(changed(encode_post(post(1), NIGHT), **body))


@pytest.mark.parametrize(
    "value",
    [b"", b"\xff\xfe", b"[]", b"{}", b'{"schema":"post/1"}', b"[" * 100_000],
    ids=["empty", "not utf-8", "a list", "no fields", "no body", "too deep"],
)
def test_bytes_that_are_no_message_are_refused(value: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_post(value)
    with pytest.raises(BadMessage):
        decode_annotated(value)


def test_lone_surrogates_are_refused_both_ways() -> None:
    with pytest.raises(BadMessage):
        encode_post(post(1, text="half \ud83d"), NIGHT)
    value = encode_post(post(1, text="HERE"), NIGHT)
    for escape in (b"\\ud83d", b"\\ude00", b"\xed\xa0\xbd"):
        with pytest.raises(BadMessage):
            decode_post(value.replace(b"HERE", escape))
    assert decode_post(value.replace(b"HERE", b"\\ud83d\\ude00"))[0].text == "😀"


def test_an_escaped_escape_is_no_nul() -> None:
    odd = post(1, text="the letters \\u0000 written out")
    assert decode_post(encode_post(odd, NIGHT))[0] == odd


def test_too_large_a_post_is_refused() -> None:
    with pytest.raises(BadMessage, match="too large"):
        encode_post(post(1, text="雨" * 400_000), NIGHT)


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(BadMessage, match="offset"):
        decode_post(encode_post(post(1, fetched_at=datetime(2026, 6, 12)), NIGHT))  # noqa: DTZ001
