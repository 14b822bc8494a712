"""The second tier inside the annotate stage: as much of it as the second allows.

The first tier's answer is always there; a second look replaces it before the post is published, so
that whoever reads ``posts.annotated`` sees one reading per post. What costs nothing (the account)
is always looked at. What costs (the answered post, the sentence encoder) has a budget of
milliseconds per second, goes to the most pressing posts of a batch, and gives way first: when a
batch is full, or this stage or the detector has a backlog, nothing is looked at again. While the
index is away a reply is read with what it answers only if that came lately.

So what a second look adds depends on load; the annotation says which looks were taken, and reading
``posts.annotated`` again gives the same events whatever the load was.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import structlog

from nlp import second_tier
from nlp.account import Account
from nlp.claims import KnownClaim
from nlp.errors import SemanticDown
from nlp.near_claims import NearClaims
from nlp.semantic import Blend, Encoder
from nlp.types import Annotation, ClaimMatch
from pipeline.domain.post import CHAIN, Post, post_id
from pipeline.errors import EngineDown
from pipeline.index.base import Index

log = structlog.get_logger("second-tier")

CHUNK = 8  # posts given to the encoder at once: about half a second
BACKED_UP = 1000  # waiting messages, from which the tier gives way (the board names them too)
TOLD_FOR_S = 60.0
TOLD_SHARE = 0.5  # of the posts that wanted a second look; fewer passed over is no news
DOWN_FOR_S = 30.0  # an encoder that failed is left alone so long, doubled each time
LONGEST_DOWN_S = 1800.0
RECENT = 10_000  # posts whose words are kept for replies: the index may not have them yet


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


@dataclass(slots=True)
class Counters:
    """Posts since the start: ``wanted`` a second look, ``threads`` and ``meanings`` read again,
    ``passed`` over for want of time or of the index."""

    wanted: int = 0
    threads: int = 0
    meanings: int = 0
    passed: int = 0


class SecondTier:
    """Looks again at the unsure and the flagged. ``index``: where answered posts are found;
    ``encoder`` and ``blend``: None when the sentence encoder is off; ``problem``: why it is off
    though it should not be, for the board."""

    def __init__(
        self,
        annotator: Rereads,
        index: Index,
        budget: Budget,
        *,
        encoder: Encoder | None = None,
        blend: Blend | None = None,
        problem: str = "",
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._annotator, self._index, self._budget = annotator, index, budget
        self._encoder, self._blend, self._seconds = encoder, blend, seconds
        self._down_until = float("-inf")
        self._lately: deque[tuple[float, int, int]] = deque()  # when, wanted, passed over
        self._down_for = DOWN_FOR_S
        self._problem = problem
        self._backed_up = False
        self._recent: dict[str, str] = {}  # post id -> own words, oldest first
        self._claims = NearClaims()
        self.counters = Counters()

    def __call__(
        self, posts: Sequence[Post], annotations: Sequence[Annotation], *, busy: bool
    ) -> list[Annotation]:
        """``busy``: more posts wait; only what costs nothing is done then."""
        busy = busy or self._backed_up
        self._remember(posts)
        done = list(annotations)
        chosen = [i for i, said in enumerate(done) if second_tier.wants_second_look(said)]
        passed = self._by_threads(posts, done, chosen, busy)
        if self._blend is not None:
            costly = [i for i in chosen if second_tier.wants_encoder(done[i])]
            costly.sort(key=lambda i: -second_tier.pressing(done[i]))
            passed |= self._by_meaning(posts, done, costly, busy)
        for i in chosen:
            done[i] = self._by_account(posts[i], done[i])
        self._count(len(chosen), len(passed))
        return done

    def warm_up(self) -> None:
        """Start the encoder before posts wait for it."""
        if self._encoder is not None:
            try:
                self._encoder.encode(["。"])
            except SemanticDown as error:
                self._leave_alone(error)

    def see_backlog(self, messages: int) -> None:
        """How many messages wait, before this stage or behind it."""
        self._backed_up = messages > BACKED_UP

    @property
    def note(self) -> str:
        """One line for the board, empty when all is well."""
        if self._seconds() < self._down_until:
            return "语义复核不可用，暂用基本判读"
        self._forget()
        wanted = sum(count for _, count, _ in self._lately)
        passed = sum(count for _, _, count in self._lately)
        if passed and passed >= TOLD_SHARE * wanted:
            return f"复核层：已让路，{passed} 条未复核"
        return self._problem

    def close(self) -> None:
        if self._encoder is not None:
            self._encoder.close()

    # -- what the post answers ---------------------------------------------------------------

    def _by_threads(
        self, posts: Sequence[Post], done: list[Annotation], chosen: Sequence[int], busy: bool
    ) -> set[int]:
        """Read short replies with what they answer; returns those passed over: no time, or what
        they answer is in the index and the index is away."""
        asked = {
            i: post_id(post.source, post.reply_to or post.repost_of, "", "", "", "")
            for i in chosen
            if ((post := posts[i]).reply_to or post.repost_of)
            and len(post.own_text) <= second_tier.SHORT_REPLY
            and CHAIN not in post.text
        }
        if not asked:
            return set()
        if busy or not self._budget.is_left():
            return set(asked)
        began = self._seconds()
        unfound: set[int] = set()
        try:
            words = {key: self._recent[key] for key in asked.values() if key in self._recent}
            missing = [key for key in dict.fromkeys(asked.values()) if key not in words]
            if missing:
                try:
                    found = self._index.get(missing)
                    words |= {key: item.post.own_text for key, item in found.items()}
                except EngineDown as error:
                    unfound = {i for i, key in asked.items() if key not in words}
                    log.warning("answered posts not looked up", error=str(error))
            known = {i: words[key] for i, key in asked.items() if key in words}
            chains = [
                second_tier.with_answered(posts[i].own_text, answered)
                for i, answered in known.items()
            ]
            for i, chained in zip(known, self._annotator.annotate(chains), strict=True):
                done[i] = second_tier.by_thread(done[i], chained)
            self.counters.threads += len(known)
        finally:
            self._budget.spend(began)
        return unfound

    def _remember(self, posts: Sequence[Post]) -> None:
        for post in posts:
            self._recent[post.id] = post.own_text[: second_tier.PARENT_LIMIT]
        for old in list(islice(self._recent, max(0, len(self._recent) - RECENT))):
            del self._recent[old]

    # -- who wrote it ------------------------------------------------------------------------

    def _by_account(self, post: Post, said: Annotation) -> Annotation:
        account = Account(post.author_kind, post.verified, post.followers)
        return second_tier.by_account(
            said,
            account,
            self._annotator.card.get("account"),
            self._annotator.levels["unsure.rumour"],
        )

    # -- what it means in other words --------------------------------------------------------

    def _by_meaning(
        self, posts: Sequence[Post], done: list[Annotation], costly: Sequence[int], busy: bool
    ) -> set[int]:
        """Blend in sentence vectors; returns those there was no time for."""
        for start in range(0, len(costly), CHUNK):
            began = self._seconds()
            if busy or began < self._down_until or not self._budget.is_left():
                return set(costly[start:])
            try:
                self._read_again(posts, done, costly[start : start + CHUNK])
            except SemanticDown as error:
                self._leave_alone(error)
                return set(costly[start:])
            finally:
                self._budget.spend(began)
            self._down_for = DOWN_FOR_S
        return set()

    def _read_again(
        self, posts: Sequence[Post], done: list[Annotation], part: Sequence[int]
    ) -> None:
        """One question to the encoder: the posts, and clauses and claims that words bring near."""
        assert self._encoder is not None and self._blend is not None
        near: dict[int, tuple[ClaimMatch, ...]] = {}
        self._claims.use(self._annotator.claims)
        for i in part:
            if second_tier.wants_claims(done[i]):
                near[i] = self._claims.near(posts[i].full_text)
        clauses = [match.clause for found in near.values() for match in found]
        new = self._claims.without_vector([m.id for found in near.values() for m in found])
        vectors = self._encoder.encode(
            [*(posts[i].full_text for i in part), *clauses, *(claim.claim for claim in new)]
        )
        own, rest = vectors[: len(part)], self._blend.comparable(vectors[len(part) :])
        self._claims.keep(new, rest[len(clauses) :])
        unsure_at = {
            name.removeprefix("unsure."): level
            for name, level in self._annotator.levels.items()
            if name.startswith("unsure.")
        }
        rows = self._blend.blended(second_tier.all_rows([done[i] for i in part]), own)
        at = 0
        for i, row in zip(part, rows, strict=True):
            done[i] = second_tier.by_scores(done[i], row, unsure_at)
            found = near.get(i, ())
            likeness = [
                float(rest[at + n] @ self._claims.vector(match.id)) for n, match in enumerate(found)
            ]
            at += len(found)
            done[i] = second_tier.with_suggestion(done[i], found, likeness)
        self.counters.meanings += len(part)

    def _leave_alone(self, error: SemanticDown) -> None:
        log.warning("sentence encoder off", error=str(error), seconds=self._down_for)
        self._down_until = self._seconds() + self._down_for
        self._down_for = min(2 * self._down_for, LONGEST_DOWN_S)

    # -- what the board and the log are told -------------------------------------------------

    def _count(self, wanted: int, passed: int) -> None:
        self.counters.wanted += wanted
        self.counters.passed += passed
        self._lately.append((self._seconds(), wanted, passed))
        self._forget()

    def _forget(self) -> None:
        while self._lately and self._lately[0][0] < self._seconds() - TOLD_FOR_S:
            self._lately.popleft()
