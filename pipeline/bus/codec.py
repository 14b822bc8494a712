"""Bytes of ``posts.raw`` and ``posts.annotated``, and back, with every check a reader relies on.

A message that decodes has a known major version, times with an offset, and text without NUL or
lone surrogates; anything else is a ``BadMessage`` and goes to the dead letters.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import msgspec

from pipeline.bus.base import decode_envelope, encode
from pipeline.bus.topics import POSTS_ANNOTATED, POSTS_RAW
from pipeline.domain.post import AnnotatedPost, Post
from pipeline.errors import BadMessage

MAX_BYTES = 900_000  # below the usual limit of a Kafka broker


class _PostEnvelope(msgspec.Struct):
    schema: str
    id: str
    body: Post


class _AnnotatedEnvelope(msgspec.Struct):
    schema: str
    id: str
    body: AnnotatedPost


_raw = msgspec.json.Decoder(_PostEnvelope)
_annotated = msgspec.json.Decoder(_AnnotatedEnvelope)


def encode_post(post: Post, at: datetime, *, cause: str = "") -> bytes:
    """The message of one post. Raises: BadMessage when JSON cannot say it (lone surrogates)."""
    return _encode(POSTS_RAW.schema, post, at, cause)


def encode_annotated(item: AnnotatedPost, at: datetime, *, cause: str = "") -> bytes:
    """The message of one annotated post. Raises: BadMessage when JSON cannot say it."""
    return _encode(POSTS_ANNOTATED.schema, item, at, cause)


def decode_post(value: bytes) -> tuple[Post, str]:
    """The post of a message and the message's id. Raises: BadMessage."""
    try:
        envelope = _raw.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessage(_why(value, POSTS_RAW.schema, error)) from error
    _check_major(envelope.schema, POSTS_RAW.schema)
    return _checked(envelope.body, value), envelope.id


def decode_annotated(value: bytes) -> AnnotatedPost:
    """The annotated post of a message. Raises: BadMessage."""
    try:
        envelope = _annotated.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessage(_why(value, POSTS_ANNOTATED.schema, error)) from error
    _check_major(envelope.schema, POSTS_ANNOTATED.schema)
    item = envelope.body
    post = _checked(item.post, value)
    return item if post is item.post else replace(item, post=post)


def _encode(schema: str, body: Post | AnnotatedPost, at: datetime, cause: str) -> bytes:
    try:
        value = encode(schema, body, at, cause=cause)
    except (UnicodeEncodeError, TypeError, msgspec.MsgspecError) as error:
        raise BadMessage(f"{schema}: cannot be written as JSON: {type(error).__name__}") from error
    if len(value) > MAX_BYTES:
        raise BadMessage(f"{schema}: a message of {len(value)} bytes is too large")
    return value


def _check_major(schema: str, known: str) -> None:
    if schema != known:
        raise BadMessage(
            f"schema {schema[:40]!r} instead of {known!r}: written by another version; update"
            " Tingfeng, then retry"
        )


def _why(value: bytes, known: str, error: Exception) -> str:
    """What is wrong: an unknown version is said before a body that does not fit."""
    envelope = decode_envelope(value)
    _check_major(envelope.schema, known)
    return f"{known}: {error}"


def _checked(post: Post, value: bytes) -> Post:
    if b"\\u0000" in value and _has_nul(post):
        raise BadMessage("the post holds a NUL character")
    if not post.id:
        raise BadMessage("the post has no id")
    published, fetched, counted = post.published_at, post.fetched_at, post.counted_at
    if (
        published.tzinfo is UTC
        and fetched.tzinfo is UTC
        and (counted is None or counted.tzinfo is UTC)
    ):
        return post
    return replace(
        post,
        published_at=_utc(published, "published_at"),
        fetched_at=_utc(fetched, "fetched_at"),
        counted_at=None if counted is None else _utc(counted, "counted_at"),
    )


def _has_nul(post: Post) -> bool:
    values = (getattr(post, name) for name in Post.__dataclass_fields__)
    return any(isinstance(value, str) and "\0" in value for value in values)


def _utc(at: datetime, name: str) -> datetime:
    if at.tzinfo is None:
        raise BadMessage(f"{name} has no time zone offset")
    return at.astimezone(UTC)
