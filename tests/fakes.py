"""The few fakes: real objects with a way to make them fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from nlp.types import Annotation, Place
from pipeline.domain.post import AnnotatedPost, Counts, FetchedPost, Post

NIGHT = datetime(2026, 6, 12, 14, 0, tzinfo=UTC)  # 22:00 in Nanning


@dataclass
class HandClock:
    """A clock that moves only when told to."""

    at: datetime = NIGHT

    def now(self) -> datetime:
        return self.at

    def move(self, **delta: float) -> datetime:
        self.at += timedelta(**delta)
        return self.at


@dataclass
class HandTicks:
    """Seconds of a monotonic clock that moves only when told to."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class FakeAnnotator:
    """Judges by a few words. ``poison``: a text with this word raises ValueError."""

    poison: str = "毒药"
    passes: list[int] = field(default_factory=list)

    def annotate(
        self,
        texts: Sequence[str],
        *,
        place_hints: Sequence[str] | None = None,
        published: Sequence[datetime | None] | None = None,
        reasons: bool = False,
    ) -> list[Annotation]:
        self.passes.append(len(texts))
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> Annotation:
        if self.poison in text:
            raise ValueError("poisoned")
        places = (Place("450103", "青秀区"),) if "青秀" in text else ()
        return annotation(kind="help" if "求助" in text else "talk", places=places, tokens=text)


def fetched(text: str = "青秀区下暴雨了", **changes: object) -> FetchedPost:
    """A fetched post; give what matters."""
    values: dict[str, object] = {
        "source": "weibo",
        "text": text,
        "native_id": f"n{abs(hash(text)) % 10**9}",
        "author": "雨夜小明",
        "published_at": NIGHT - timedelta(minutes=3),
        "fetched_at": NIGHT,
        **changes,
    }
    return FetchedPost(**values)  # type: ignore[arg-type]


def post(number: int, **changes: object) -> Post:
    """The ``number``-th post of a quiet stream, a second apart."""
    values: dict[str, object] = {
        "id": f"{number:024x}",
        "source": "weibo",
        "native_id": str(number),
        "url": f"https://example.cn/{number}",
        "author": "0123456789abcdef",
        "author_kind": "person",
        "published_at": NIGHT + timedelta(seconds=number),
        "fetched_at": NIGHT + timedelta(seconds=number + 30),
        "text": f"第{number}条 今晚暴雨",
        "counts": Counts(reposts=number),
        "counted_at": NIGHT + timedelta(seconds=number + 30),
        **changes,
    }
    return Post(**values)  # type: ignore[arg-type]


def annotation(**changes: object) -> Annotation:
    """A plain annotation; give what matters."""
    values: dict[str, object] = {
        "model": "test-1",
        "relevant": True,
        "kind": "talk",
        "sentiment": "neu",
        "urgency": 0,
        "rumour": "none",
        "scores": {"kind": {"talk": 0.75, "help": 0.25}},
        "reasons": {"kind": [("暴雨", 0.5)]},
        "hazards": ("rain",),
        "places": (Place("450103", "青秀区", 0, 3),),
        "sketch": "0a" * 256,
        "exact": "0123456789abcdef",
        "tokens": "今晚 暴雨",
        **changes,
    }
    return Annotation(**values)  # type: ignore[arg-type]


def annotated(
    number: int, *, post_changes: dict[str, object] | None = None, **changes: object
) -> AnnotatedPost:
    """An annotated post; ``changes`` are for its annotation."""
    return AnnotatedPost(post(number, **(post_changes or {})), annotation(**changes))
