"""The door: fetched posts become masked posts with an id, once, and go to ``posts.raw``.

Personal data ends here. What leaves has masked text and a hashed author; phone numbers of the
text travel sealed with the vault's key. A post that cannot be taken goes to the dead letters in
its masked form, so that an operator may still let it pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import structlog

from pipeline.bus.base import Bus, DeadLetter, Record
from pipeline.bus.codec import encode_post
from pipeline.bus.topics import POSTS_RAW
from pipeline.clock import Clock
from pipeline.domain.post import (
    Counts,
    FetchedPost,
    Post,
    Unreadable,
    hash_author,
    magnitude,
    mask,
    post_id,
)
from pipeline.errors import BadMessage
from pipeline.store.seen import SeenPosts

log = structlog.get_logger("ingest")

STAGE = "ingest"
BATCH = 500
EARLIEST = datetime(2009, 1, 1, tzinfo=UTC)  # before the first microblog of the country
AHEAD = timedelta(minutes=5)  # clocks of sources run ahead a little
_JUNK = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u2028\u2029\ufeff\ud800-\udfff]")
_BLANKS = re.compile(r"[ \t\u00a0\u3000]{2,}|[\t\u00a0\u3000]")
_LINES = re.compile(r" *(?:\r\n|\r|\n)\s*")
_TRACKING = re.compile(
    r"utm_.*|spm(?:_.*)?|scm|fbclid|gclid|vd_source|xsec_.*|isappinstalled|wx_.*|share.*"
    r"|refer_.*|from(?:_.*)?|tt_from|track(?:ing)?_.*|timestamp"
)


@dataclass(frozen=True, slots=True)
class IngestResult:
    """``read = accepted + repeated + dead``. ``updated``: repeated posts passed on once more
    because their counts or text had changed."""

    read: int = 0
    accepted: int = 0
    repeated: int = 0
    dead: int = 0
    updated: int = 0

    def __add__(self, other: IngestResult) -> IngestResult:
        return IngestResult(
            self.read + other.read,
            self.accepted + other.accepted,
            self.repeated + other.repeated,
            self.dead + other.dead,
            self.updated + other.updated,
        )


class Ingest:
    """Takes what spiders and the importer hand in.

    ``author_key``: key of the author hashes. ``seal``: encrypts contacts for the vault (text in,
    base64 out); None throws contacts away.
    """

    def __init__(
        self,
        bus: Bus,
        seen: SeenPosts,
        *,
        author_key: bytes,
        seal: Callable[[str], str] | None,
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._seen = seen
        self._author_key = author_key
        self._seal = seal
        self._clock = clock

    def accept(self, posts: Sequence[FetchedPost]) -> IngestResult:
        """Check, mask, de-duplicate and publish. Never raises for a bad post.

        Raises: EngineDown when the bus does not answer; then hand in the same posts again, what
        was already published is recognised.
        """
        total = IngestResult()
        for start in range(0, len(posts), BATCH):
            total += self._accept(posts[start : start + BATCH])
        return total

    def refuse(self, pieces: Sequence[Unreadable]) -> None:
        """Put what could not become a post into the dead letters. Raises: EngineDown."""
        for piece in pieces:
            self._bury(piece.source, piece.raw, piece.reason)

    def to_post(self, raw: FetchedPost) -> Post:
        """The masked form of a fetched post. Pure: publishes nothing.

        Raises: ValueError when a time has no offset.
        """
        published, fetched = _utc(raw.published_at), _utc(raw.fetched_at)
        text, contacts = mask(clean(raw.text or raw.title))
        title, title_contacts = mask(clean(raw.title))
        contacts += tuple(c for c in title_contacts if c not in contacts)
        source, native_id = _line(raw.source), _line(raw.native_id)
        url = canonical_url(_line(raw.url))
        author = hash_author(_line(raw.author), source, self._author_key)
        sealed = self._seal("、".join(contacts)) if contacts and self._seal else ""
        return Post(
            id=post_id(source, native_id, url, text, author, published.isoformat()),
            source=source,
            native_id=native_id,
            url=url,
            author=author,
            author_kind=raw.author_kind,
            published_at=published,
            fetched_at=fetched,
            text=text,
            title=title if title != text else "",
            followers=magnitude(raw.followers),
            verified=raw.verified,
            precision=raw.precision,
            raw_time=_line(raw.raw_time),
            reply_to=_chain_id(source, raw.reply_to),
            repost_of=_chain_id(source, raw.repost_of),
            root=_chain_id(source, raw.root),
            place_hint=_line(raw.place_hint),
            media=tuple(replace(m, link=_line(m.link)) for m in raw.media),
            counts=raw.counts,
            counted_at=fetched if raw.counts != _NOTHING else None,
            sealed_contact=sealed,
            gone=raw.gone,
        )

    def _accept(self, fetched: Sequence[FetchedPost]) -> IngestResult:
        now = self._clock.now()
        good: list[tuple[Post, bytes]] = []
        for raw in fetched:
            value = b""
            key = f"{raw.source} {raw.native_id}"
            try:
                post = self.to_post(raw)
                key = post.id
                value = encode_post(post, now)
                reason = objection(post)
            except BadMessage as error:
                reason = str(error)
            except Exception as error:  # one odd post must not stop the others
                reason = f"cannot be read: {type(error).__name__}"
            if reason:
                self._bury(key, value, reason)
            else:
                good.append((post, value))
        novelty = self._seen.classify([post for post, _ in good])
        fresh: list[Post] = []
        records: list[Record] = []
        accepted = 0
        for (post, value), what in zip(good, novelty, strict=True):
            if what != "unchanged":
                accepted += what == "new"
                fresh.append(post)
                records.append(Record(post.id, value))
        self._bus.publish(POSTS_RAW.name, records)
        self._seen.remember(fresh, now)  # after publishing: a crash between repeats, never loses
        dead = len(fetched) - len(good)
        if dead:
            log.warning("posts refused at the door", stage=STAGE, refused=dead, read=len(fetched))
        return IngestResult(
            read=len(fetched),
            accepted=accepted,
            repeated=len(good) - accepted,
            dead=dead,
            updated=len(fresh) - accepted,
        )

    def _bury(self, key: str, value: bytes, reason: str) -> None:
        letter = DeadLetter(
            id=0,
            topic=POSTS_RAW.name,
            partition=-1,
            offset=-1,
            key=_line(key),
            value=value,
            stage=STAGE,
            error=reason,
            tries=1,
            at=self._clock.now(),
        )
        self._bus.bury(letter)


_NOTHING = Counts()


def clean(text: str) -> str:
    """Text without NUL, controls and lone surrogates, with single blanks and single line ends."""
    if not text.isprintable():
        text = _LINES.sub("\n", _BLANKS.sub(" ", _JUNK.sub("", text)))
    elif "  " in text:
        text = _BLANKS.sub(" ", text)
    return text.strip()


def canonical_url(url: str) -> str:
    """The link without fragment and tracking parameters; empty unless it is http or https.

    >>> canonical_url("HTTP://News.example.cn/a?id=3&utm_source=wx#top")
    'http://news.example.cn/a?id=3'
    """
    if not url:
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ""
    query = parts.query
    if query:
        pairs = parse_qsl(query, keep_blank_values=True)
        kept = [pair for pair in pairs if not _TRACKING.fullmatch(pair[0].lower())]
        if len(kept) != len(pairs):
            query = urlencode(kept)
    return urlunsplit((parts.scheme, parts.netloc.lower(), parts.path or "/", query, ""))


def objection(post: Post) -> str:
    """Why a post cannot be taken, empty when it can."""
    if not post.text:
        return "no text"
    if not post.source:
        return "no source"
    if post.published_at < EARLIEST:
        return f"published in {post.published_at.year}, before 2009: the time was misread"
    if post.published_at > post.fetched_at + AHEAD:
        return "published after it was fetched: the time was misread"
    return ""


def _line(value: str) -> str:
    return (value if value.isprintable() else _JUNK.sub("", value)).strip()


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("a time without an offset")
    return at.astimezone(UTC)


def _chain_id(source: str, native_id: str) -> str:
    """The post id of another post of the same source; empty for none."""
    native_id = _line(native_id)
    return post_id(source, native_id, "", "", "", "") if native_id else ""
