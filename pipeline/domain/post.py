"""Post and AnnotatedPost: what one account published at one time, and what nlp says about it."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from nlp.types import Annotation

Precision = Literal["second", "minute", "day"]
AuthorKind = Literal["person", "organisation", "media", "government"]

CHAIN = "//@"


@dataclass(frozen=True, slots=True)
class Counts:
    """How often a post was passed on, answered, liked and seen. All >= 0."""

    reposts: int = 0
    comments: int = 0
    likes: int = 0
    views: int = 0


@dataclass(frozen=True, slots=True)
class Media:
    """A picture or video of a post; ``sha256`` once it was fetched."""

    kind: Literal["image", "video", "audio", "file"]
    link: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Post:
    """One post, already masked and with a hashed author.

    ``published_at``, ``fetched_at``, ``counted_at``: aware, UTC. ``raw_time``: the time as the
    source wrote it. ``author``: keyed hash, never the name. ``followers``: order of magnitude
    (0, 10, 100, ...), -1 when unknown. ``sealed_contact``: contacts of a help call, encrypted
    with the vault key on entry (base64), empty otherwise; it goes to the vault and nowhere else.
    """

    id: str
    source: str
    native_id: str
    url: str
    author: str
    author_kind: AuthorKind
    published_at: datetime
    fetched_at: datetime
    text: str
    title: str = ""
    followers: int = -1
    verified: bool = False
    precision: Precision = "second"
    raw_time: str = ""
    reply_to: str = ""
    repost_of: str = ""
    root: str = ""
    place_hint: str = ""
    media: tuple[Media, ...] = ()
    counts: Counts = field(default_factory=Counts)
    counted_at: datetime | None = None
    sealed_contact: str = ""
    gone: bool = False

    @property
    def own_text(self) -> str:
        """The author's own words: what stands before the first ``//@`` of a repost chain."""
        return self.text.split(CHAIN, 1)[0]

    @property
    def full_text(self) -> str:
        """Title and text as one string, for judging and searching."""
        if self.title and not self.text.startswith(self.title):
            return f"{self.title}\n{self.text}"
        return self.text


@dataclass(frozen=True, slots=True)
class AnnotatedPost:
    """A post with its annotation: the body of ``posts.annotated``."""

    post: Post
    annotation: Annotation


def post_id(
    source: str, native_id: str, url: str, text: str, author: str, published_at: str
) -> str:
    """24 hexadecimal digits that name a post for ever.

    From source and native id when there is one, else from the canonical link, else from text,
    author and time: so the same post fetched twice, by two spiders, gets one id.
    """
    if native_id:
        seed = f"n\x00{source}\x00{native_id}"
    elif url:
        seed = f"u\x00{url}"
    else:
        seed = f"t\x00{text}\x00{author}\x00{published_at}"
    return hashlib.sha256(seed.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def hash_author(name: str, source: str, key: bytes) -> str:
    """HMAC-SHA256 of an account, 16 hexadecimal digits; empty for an empty name.

    Keyed, because a plain hash of a ten-digit account number is reversed in seconds.
    """
    if not name:
        return ""
    return hmac.new(key, f"{source}\x00{name}".encode(), hashlib.sha256).hexdigest()[:16]


_DIGITS = re.compile(r"\d\d")  # all patterns but plates and addresses of e-mail need two
_ID_CARD = re.compile(
    r"(?<![0-9A-Za-z])[1-9]\d{5}(?:19|20)\d{2}[01]\d[0-3]\d{4}[\dXx](?![0-9A-Za-z])"
)
_MOBILE = re.compile(r"(?<!\d)(?:\+?86[- ]?)?(1[3-9]\d)[- ]?(\d{4})[- ]?(\d{4})(?!\d)")
_LANDLINE = re.compile(r"(?<!\d)(0\d{2,3})[-—– ](\d{7,8})(?!\d)")
_PLATE = re.compile(
    r"([京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-HJ-NP-Z])"
    r"[·• ]?[A-HJ-NP-Z0-9]{5,6}(?![A-Za-z0-9])"
)
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_HOUSE = re.compile(
    r"(\d{1,4}|[一二三四五六七八九十]{1,3})(栋|幢|号楼|单元)"
    r"(?:[ ,，]?(?:\d{1,4}|[一二三四五六七八九十]{1,3})(?:单元|楼|层))?"
    r"[ ,，]?(\d{2,4})(室|房|号房)?"
)


def mask(text: str) -> tuple[str, tuple[str, ...]]:
    """Mask phones, identity numbers, plates, e-mail and house numbers.

    Returns the masked text and the contacts that were masked (phones only), which the vault
    keeps for a help call. Masking twice changes nothing.
    """
    contacts: list[str] = []

    def phone(match: re.Match[str]) -> str:
        contacts.append(match.group(0))
        return f"{match.group(1)}****{match.group(3)[-2:]}**"

    def landline(match: re.Match[str]) -> str:
        contacts.append(match.group(0))
        return f"{match.group(1)}-****{match.group(2)[-2:]}"

    has_digits = _DIGITS.search(text) is not None  # most posts have none: nothing to look for
    if has_digits:
        text = _ID_CARD.sub("［证件号已遮蔽］", text)
        text = _MOBILE.sub(phone, text)
        text = _LANDLINE.sub(landline, text)
    text = _PLATE.sub(lambda m: f"{m.group(1)}*****", text)
    if "@" in text:
        text = _EMAIL.sub("［邮箱已遮蔽］", text)
    if has_digits:
        text = _HOUSE.sub(lambda m: f"{m.group(1)}{m.group(2)}***{m.group(4) or ''}", text)
    return text, tuple(contacts)


def magnitude(n: int) -> int:
    """Order of magnitude of a count: 0, 1, 10, 100 ...; -1 stays -1 (unknown)."""
    return n if n <= 0 else int(10 ** (len(str(n)) - 1))


@dataclass(frozen=True, slots=True)
class FetchedPost:
    """A post as a spider or importer hands it in: unmasked, author by name.

    It lives in memory only, between fetching and the door (``stages.ingest``), which masks it,
    hashes the author and turns it into a ``Post``. ``followers``: exact, -1 when unknown.
    ``kind_hint``: what the source itself says, as ``official`` for a warning list.
    """

    source: str
    text: str
    published_at: datetime
    fetched_at: datetime
    native_id: str = ""
    url: str = ""
    author: str = ""
    author_kind: AuthorKind = "person"
    title: str = ""
    followers: int = -1
    verified: bool = False
    precision: Precision = "second"
    raw_time: str = ""
    reply_to: str = ""
    repost_of: str = ""
    root: str = ""
    place_hint: str = ""
    media: tuple[Media, ...] = ()
    counts: Counts = field(default_factory=Counts)
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something a source gave that cannot become a post. ``raw``: the bytes; ``reason``: why."""

    source: str
    raw: bytes
    reason: str
