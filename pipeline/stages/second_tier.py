"""The second tier inside the annotate stage: as much of it as the second allows.

The first tier's answer is always there; a second look replaces it before the post is published, so
that whoever reads ``posts.annotated`` sees one reading per post. What costs nothing (the account)
is always looked at. What costs (the answered post, the sentence encoder) has a budget of
milliseconds per second and gives way first: a full batch means that others wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import structlog

from nlp import second_tier
from nlp.account import Account
from nlp.claims import KnownClaim
from nlp.errors import SemanticDown
from nlp.semantic import DIMENSIONS, Blend, Encoder
from nlp.types import Annotation
from pipeline.domain.post import Post, post_id
from pipeline.errors import EngineDown
from pipeline.index.base import Index

log = structlog.get_logger("second-tier")

CHUNK = 8  # texts given to the encoder at once: about half a second
TOLD_FOR_S = 60.0
DOWN_FOR_S = 30.0  # an encoder that failed is left alone so long


class Rereads(Protocol):
    """What the tier needs of the annotator."""

    @property
    def card(self) -> dict[str, Any]: ...

    @property
    def levels(self) -> dict[str, float]: ...

    @property
    def claims(self) -> Sequence[KnownClaim]: ...

    def annotate(self, texts: Sequence[str], *, reasons: bool = True) -> list[Annotation]: ...


class Budget:
    """Milliseconds that may be spent, filled up at a steady rate to at most one second's worth."""

    def __init__(self, ms_per_s: float, seconds: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._seconds = ms_per_s, seconds
        self._left, self._at = ms_per_s, seconds()

    def is_left(self) -> bool:
        now = self._seconds()
        self._left = min(self._rate, self._left + self._rate * (now - self._at))
        self._at = now
        return self._left > 0

    def spend(self, began: float) -> None:
        """Take off what passed since ``began``; a costly look is paid back by waiting."""
        self._left -= 1000 * (self._seconds() - began)


class SecondTier:
    """Looks again at the unsure and the flagged. ``index``: where answered posts are found;
    ``encoder`` and ``blend``: None when the sentence encoder is off."""

    def __init__(
        self,
        annotator: Rereads,
        index: Index,
        budget: Budget,
        *,
        encoder: Encoder | None = None,
        blend: Blend | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._annotator, self._index, self._budget = annotator, index, budget
        self._encoder, self._blend, self._seconds = encoder, blend, seconds
        self._down_until = self._told_until = float("-inf")
        self._passed_lately = 0
        self._problem = ""
        self._claims: tuple[str, ...] = ()
        self._claim_vectors = np.zeros((0, DIMENSIONS), np.float32)
        self.looked = self.passed = 0  # posts since the start: looked at again, given up

    def __call__(
        self, posts: Sequence[Post], annotations: Sequence[Annotation], *, busy: bool
    ) -> list[Annotation]:
        """``busy``: more posts wait; only what costs nothing is done then."""
        done = list(annotations)
        chosen = [i for i, said in enumerate(done) if second_tier.wants_second_look(said)]
        if not chosen:
            return done
        answered = {} if busy else self._answered([posts[i] for i in chosen])
        costly: list[int] = []
        for i in chosen:
            parent = answered.get(posts[i].id)
            if parent:
                done[i] = self._by_thread(posts[i], done[i], parent)
            done[i] = self._by_account(posts[i], done[i])
            if self._blend is not None:
                costly.append(i)
        if costly:
            self._by_meaning(posts, done, costly, busy)
        self.looked += len(chosen)
        return done

    @property
    def note(self) -> str:
        """One line for the board, empty when all is well."""
        if self._problem and self._seconds() < self._down_until:
            return self._problem
        if self._seconds() < self._told_until:
            return f"复核层已让路，{self._passed_lately} 条未用语义复核"
        return ""

    def close(self) -> None:
        if self._encoder is not None:
            self._encoder.close()

    def _answered(self, posts: Sequence[Post]) -> dict[str, Post]:
        """The posts that short replies answer, by the reply's id, where the index has them."""
        asked = {
            post.id: post_id(post.source, post.reply_to or post.repost_of, "", "", "", "")
            for post in posts
            if (post.reply_to or post.repost_of)
            and len(post.own_text) <= second_tier.SHORT_REPLY
            and "//@" not in post.text
        }
        if not asked or not self._budget.is_left():
            return {}
        began = self._seconds()
        try:
            found = self._index.get(list(set(asked.values())))
        except EngineDown as error:
            log.warning("answered posts not looked up", error=str(error))
            return {}
        finally:
            self._budget.spend(began)
        return {reply: found[key].post for reply, key in asked.items() if key in found}

    def _by_thread(self, post: Post, said: Annotation, parent: Post) -> Annotation:
        began = self._seconds()
        chain = second_tier.with_answered(post.own_text, parent.own_text)
        (chained,) = self._annotator.annotate([chain])
        self._budget.spend(began)
        return second_tier.by_thread(said, chained)

    def _by_account(self, post: Post, said: Annotation) -> Annotation:
        account = Account(post.author_kind, post.verified, post.followers)
        return second_tier.by_account(
            said,
            account,
            self._annotator.card.get("account"),
            self._annotator.levels["unsure.rumour"],
        )

    def _by_meaning(
        self, posts: Sequence[Post], done: list[Annotation], costly: list[int], busy: bool
    ) -> None:
        assert self._encoder is not None and self._blend is not None
        unsure_at = {
            name.removeprefix("unsure."): level
            for name, level in self._annotator.levels.items()
            if name.startswith("unsure.")
        }
        for start in range(0, len(costly), CHUNK):
            part = costly[start : start + CHUNK]
            began = self._seconds()
            if busy or began < self._down_until or not self._budget.is_left():
                self._give_way(len(costly) - start)
                return
            try:
                self._know_claims()
                vectors = self._encoder.encode([posts[i].full_text for i in part])
            except SemanticDown as error:
                log.warning("semantic tier off for a while", error=str(error))
                self._problem = "语义复核不可用，暂用基本判读"
                self._down_until = self._seconds() + DOWN_FOR_S
                self._give_way(len(costly) - start)
                return
            finally:
                self._budget.spend(began)
            rows = self._blend.blended(second_tier.all_rows([done[i] for i in part]), vectors)
            near = self._blend.comparable(vectors) @ self._claim_vectors.T
            for i, row, likeness in zip(part, rows, near, strict=True):
                again = second_tier.by_scores(done[i], row, unsure_at)
                done[i] = second_tier.with_suggestion(again, self._claims, likeness)

    def _know_claims(self) -> None:
        """Vectors of the active claims; made again when people changed the library."""
        assert self._encoder is not None and self._blend is not None
        claims = self._annotator.claims
        ids = tuple(claim.id for claim in claims)
        if ids != self._claims:
            texts = [claim.claim for claim in claims]
            vectors = np.vstack(
                [
                    np.zeros((0, DIMENSIONS), np.float32),
                    *(
                        self._encoder.encode(texts[n : n + CHUNK])
                        for n in range(0, len(texts), CHUNK)
                    ),
                ]
            )
            self._claim_vectors = self._blend.comparable(vectors)
            self._claims = ids

    def _give_way(self, posts: int) -> None:
        if self._seconds() >= self._told_until:
            self._passed_lately = 0
        self.passed += posts
        self._passed_lately += posts
        self._told_until = self._seconds() + TOLD_FOR_S
