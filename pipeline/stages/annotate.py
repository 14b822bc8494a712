"""``posts.raw`` -> ``posts.annotated``: judge a batch of texts in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from nlp.types import Annotation, Place
from pipeline.bus.base import Bus, Message, Record
from pipeline.bus.codec import decode_post, encode_annotated
from pipeline.bus.topics import POSTS_ANNOTATED
from pipeline.clock import Clock
from pipeline.domain.post import AnnotatedPost
from pipeline.stages.second_tier import SecondTier

STAGE = "annotate"
NOWHERE = "000000"


class Annotates(Protocol):
    """What this stage needs of ``nlp.annotator.Annotator``."""

    def annotate(
        self,
        texts: Sequence[str],
        *,
        place_hints: Sequence[str] | None = None,
        published: Sequence[datetime | None] | None = None,
        reasons: bool = False,
    ) -> list[Annotation]: ...


class Annotate:
    """The handler of the annotate stage.

    Raises BadMessage for bytes that are no post: the worker then finds the bad one by halves.
    Nothing is published before the whole batch is judged. ``second``: looks again at some;
    ``full_batch``: posts in a batch that mean that more are waiting.
    """

    def __init__(
        self,
        bus: Bus,
        annotator: Annotates,
        clock: Clock,
        *,
        second: SecondTier | None = None,
        full_batch: int = 0,
    ) -> None:
        self._bus = bus
        self._annotator = annotator
        self._clock = clock
        self._second = second
        self._full_batch = full_batch

    def __call__(self, messages: Sequence[Message]) -> None:
        posts = [decode_post(message.value) for message in messages]
        annotations = self._annotator.annotate(
            [post.full_text for post, _ in posts],
            place_hints=[post.place_hint for post, _ in posts],
            published=[post.published_at for post, _ in posts],
            reasons=True,
        )
        if self._second is not None:
            annotations = self._second(
                [post for post, _ in posts], annotations, busy=len(posts) >= self._full_batch
            )
        now = self._clock.now()
        records = [
            Record(
                prefecture_key(annotation.places),
                encode_annotated(AnnotatedPost(post, annotation), now, cause=message_id),
            )
            for (post, message_id), annotation in zip(posts, annotations, strict=True)
        ]
        self._bus.publish(POSTS_ANNOTATED.name, records)


def prefecture_key(places: Sequence[Place]) -> str:
    """The message key: prefecture of the best (first) place, ``000000`` when there is none.

    >>> prefecture_key([Place("450103", "青秀区")])
    '450100'
    """
    adcode = places[0].adcode if places else ""
    return adcode[:4].ljust(4, "0") + "00" if len(adcode) >= 2 else NOWHERE
