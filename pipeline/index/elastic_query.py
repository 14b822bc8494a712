"""A Query in the words of Elasticsearch, and its answers in ours. Opens nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nlp.text import query_tokens
from pipeline.index.base import Facet, Hit, Query, Step
from pipeline.index.codes import area_span, millis
from pipeline.index.elastic_docs import Stored

BY_TIME, BY_ID = [{"at": "desc"}], [{"pid": "desc"}]
NEWEST_FIRST = BY_TIME + BY_ID

_HOUR_MS = 3_600_000
STEPS: dict[Step, int] = {"10min": _HOUR_MS // 6, "hour": _HOUR_MS, "day": 24 * _HOUR_MS}
FIELDS: dict[Facet, str] = {
    "kind": "kind", "sentiment": "sentiment", "rumour": "rumour", "urgency": "urgency",
    "source": "source", "adcode": "counties", "hazard": "hazards",
}  # fmt: skip


def asked(query: Query) -> dict[str, Any] | None:
    """The query in the server's words; None when nothing can match."""
    words = query_tokens(query.words) if query.words.strip() else []
    if query.words.strip() and not words:
        return None
    must: list[dict[str, Any]] = [{"term": {"tokens": word}} for word in dict.fromkeys(words)]
    for name, values in (
        ("kind", query.kinds),
        ("sentiment", query.sentiments),
        ("rumour", query.rumours),
        ("source", query.sources),
        ("hazards", query.hazards),
    ):
        if values:
            must.append({"terms": {name: list(values)}})
    if query.min_urgency > 0:
        must.append({"range": {"urgency": {"gte": query.min_urgency}}})
    if query.relevant_only:
        must.append({"term": {"relevant": True}})
    if query.adcode:
        low, high = area_span(query.adcode)
        if low > high:
            return None
        # A post holds every area above its places, in the widths that codes have.
        whole = len(query.adcode) in (2, 4, 6, 9, 12)
        must.append({"term" if whole else "prefix": {"areas": query.adcode}})
    span: dict[str, int] = {}
    if query.since is not None:
        span["gte"] = millis(query.since)
    if query.until is not None:
        span["lt"] = millis(query.until)
    if span:
        must.append({"range": {"at": span}})
    if query.ids:
        must.append({"ids": {"values": list(query.ids)}})
    return {"bool": {"filter": must}} if must else {"match_all": {}}


def hit_of(found: Mapping[str, Any]) -> Hit:
    """A found document as a Hit."""
    stored = Stored.read(found)
    return Hit(stored.item, stored.first_seen_at, stored.versions)
