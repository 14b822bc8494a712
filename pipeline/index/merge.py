"""What to keep when a stored post comes again: the same rules for every index."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from pipeline.domain.post import AnnotatedPost


def refreshed(old: AnnotatedPost, item: AnnotatedPost) -> AnnotatedPost:
    """The newer fetch wins, the newer count too; a vanished post comes back only when it was
    fetched again."""
    before, after = old.post, item.post
    newer = after.fetched_at >= before.fetched_at
    chosen = item if newer else old
    post = chosen.post
    if before.counted_at and (after.counted_at is None or after.counted_at < before.counted_at):
        post = replace(post, counts=before.counts, counted_at=before.counted_at)
    elif not newer and after.counted_at:
        post = replace(post, counts=after.counts, counted_at=after.counted_at)
    if before.gone and after.fetched_at <= before.fetched_at:
        post = replace(post, gone=True)
    return chosen if post is chosen.post else replace(chosen, post=post)


def other_wording(old: AnnotatedPost, item: AnnotatedPost) -> AnnotatedPost | None:
    """The wording that ``refreshed`` did not keep; None when both read the same."""
    if (item.post.title, item.post.text) == (old.post.title, old.post.text):
        return None
    return old if item.post.fetched_at >= old.post.fetched_at else item


def wording_digest(item: AnnotatedPost) -> bytes:
    """Eight bytes that tell wordings of one post apart."""
    words = f"{item.post.title}\0{item.post.text}".encode("utf-8", "replace")
    return hashlib.blake2b(words, digest_size=8).digest()
