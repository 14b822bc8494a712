"""ClaimReview (schema.org): what others have looked into, read from JSON-LD.

Taken as published: a single object, a list, an ``@graph``, a DataFeed (``dataFeedElement``,
``item``) or an ItemList. Whatever cannot be used is handed back with the reason, never dropped.
Source of the fields: https://schema.org/ClaimReview; our portal writes the same ones.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from pipeline.domain.release import Verdict

LONGEST_CLAIM = 500
MOST_REVIEWS = 20_000
_DEEPEST = 8
_ODD = re.compile("[\x00\ud800-\udfff]")  # no database keeps them

_WORDS: tuple[tuple[Verdict, tuple[str, ...]], ...] = (
    (Verdict.UNCHECKABLE, ("无法核实", "无法证实", "unverifiable", "unproven", "no evidence")),
    (Verdict.PENDING, ("尚待核实", "待核实", "存疑", "unverified", "pending")),
    (
        Verdict.PARTLY,
        ("部分属实", "部分", "半真", "夸大", "misleading", "mixture", "partly", "half", "mostly"),
    ),
    (
        Verdict.FALSE,
        ("失实", "不实", "谣言", "虚假", "假", "错误", "捏造", "false", "fake", "incorrect",
         "pants on fire", "not true"),
    ),
    (Verdict.TRUE, ("属实", "真实", "正确", "真", "true", "correct", "accurate")),
)  # fmt: skip
"""Words of a rating, in the order in which they are looked for: 不实 before 实."""


@dataclass(frozen=True, slots=True)
class ReviewedClaim:
    """A claim somebody else has looked into. ``day``: ISO, when it was published; ``rating``: the
    publisher's own word; ``link``: http(s) or empty."""

    claim: str
    verdict: str
    rating: str
    source_name: str
    link: str
    day: str
    correction: str = ""

    @property
    def id(self) -> str:
        """Named by publisher, link and claim, so that the same review fetched twice is one."""
        seed = "\x00".join((self.source_name, self.link, self.claim))
        return f"IMP-{hashlib.sha256(seed.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class BadReview:
    """An entry that cannot be used. ``number``: which of the file, from 1; ``raw``: its bytes."""

    number: int
    reason: str
    raw: bytes


def read_claim_reviews(body: str) -> Iterator[ReviewedClaim | BadReview]:
    """Every ClaimReview of a JSON text, good or bad, in its order; a text without any is one bad
    entry."""
    raw = body.encode("utf-8", "replace")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        yield BadReview(1, f"not JSON: {error}", raw)
        return
    number = 0
    for number, entry in enumerate(_reviews(data, _DEEPEST), 1):
        if number > MOST_REVIEWS:
            yield BadReview(number, f"more than {MOST_REVIEWS} reviews; split the file", raw[:200])
            return
        try:
            yield _review(entry)
        except ValueError as error:
            kept = json.dumps(entry, ensure_ascii=True).encode()
            yield BadReview(number, str(error), kept)
    if not number:
        yield BadReview(1, "holds no ClaimReview; give JSON-LD of schema.org/ClaimReview", raw)


def _reviews(node: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    if depth == 0:
        return
    if isinstance(node, list):
        for part in node:
            yield from _reviews(part, depth - 1)
    elif isinstance(node, Mapping):
        kind = node.get("@type")
        kinds = kind if isinstance(kind, list) else [kind]
        if any(str(k).rsplit("/", 1)[-1].rsplit(":", 1)[-1] == "ClaimReview" for k in kinds):
            yield node
            return
        for key in ("@graph", "dataFeedElement", "itemListElement", "item", "review"):
            yield from _reviews(node.get(key), depth - 1)


def _review(entry: Mapping[str, Any]) -> ReviewedClaim:
    claim = _text(entry.get("claimReviewed"))
    if not claim:
        for item in _many(entry.get("itemReviewed")):
            claim = claim or _text(item.get("name")) or _text(item.get("headline"))
    if not claim:
        raise ValueError("claimReviewed is empty: there is nothing to compare posts with")
    if len(claim) > LONGEST_CLAIM:
        raise ValueError(f"claimReviewed has {len(claim)} characters, at most {LONGEST_CLAIM}")
    author = next(iter(_many(entry.get("author"))), {})
    source = _text(author.get("name")) or _text(entry.get("author"))
    if not source:
        raise ValueError("author.name is empty: nobody stands for the verdict")
    rating = next(iter(_many(entry.get("reviewRating"))), {})
    said = _text(rating.get("alternateName")) or _text(rating.get("name"))
    verdict = verdict_of(said, rating)
    if verdict is None:
        raise ValueError(f"reviewRating says nothing we can read ({said[:40]!r})")
    correction = next(
        (text for key in ("reviewBody", "description") if (text := _text(entry.get(key)))), ""
    )
    return ReviewedClaim(
        claim=claim,
        verdict=verdict.value,
        rating=said,
        source_name=source[:128],
        link=_link(entry.get("url")),
        day=_day(entry.get("datePublished")),
        correction=correction[:4000] or (f"核查结论：{said}" if said else "见来源"),
    )


def verdict_of(said: str, rating: Mapping[str, Any]) -> Verdict | None:
    """Our verdict for a publisher's rating: by its word, else by its place on its own scale.

    >>> verdict_of("部分属实", {}).value
    '部分属实'
    >>> verdict_of("", {"ratingValue": 1, "worstRating": 1, "bestRating": 5}).value
    '失实'
    """
    low = said.lower()
    for verdict, words in _WORDS:
        if any(word in low for word in words):
            return verdict
    try:
        value = float(rating["ratingValue"])
        worst, best = float(rating.get("worstRating", 1)), float(rating.get("bestRating", 5))
    except (KeyError, TypeError, ValueError):
        return None
    if best <= worst or not worst <= value <= best:
        return None
    place = (value - worst) / (best - worst)
    return Verdict.FALSE if place <= 0.25 else Verdict.TRUE if place >= 0.9 else Verdict.PARTLY


def _many(node: Any) -> list[Mapping[str, Any]]:
    found = node if isinstance(node, list) else [node]
    return [part for part in found if isinstance(part, Mapping)]


def _text(node: Any) -> str:
    if isinstance(node, list):
        node = next((part for part in node if isinstance(part, str)), "")
    return " ".join(_ODD.sub("", node).split()) if isinstance(node, str) else ""


def _link(node: Any) -> str:
    link = _text(node)
    try:
        parts = urlsplit(link)
        if parts.scheme in ("http", "https") and parts.hostname and not parts.password:
            return link
    except ValueError:
        pass
    return ""


def _day(node: Any) -> str:
    try:
        return date.fromisoformat(_text(node)[:10]).isoformat()
    except ValueError:
        return ""
