"""What a source showed before, so that a visit hands on only what is new or has changed."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from pipeline.domain.post import Counts, FetchedPost

REMEMBERED = 20_000  # entries per source


@dataclass(slots=True)
class Memory:
    """Of one source, for the life of the process; after a restart the door sorts repeats out.

    ``unfinished``: the last visit broke off, so the next must look behind what it knows.
    """

    etag: str = ""
    last_modified: str = ""
    unfinished: bool = True
    _seen: OrderedDict[str, str] = field(default_factory=OrderedDict)

    def is_new(self, key: str, state: str = "") -> bool:
        """Whether ``key`` was not seen, or seen in another state; remembers it from now on."""
        known = self._seen.get(key)
        self._seen[key] = state
        self._seen.move_to_end(key)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return known != state

    def has(self, key: str, state: str = "") -> bool:
        """Whether ``key`` was last seen in this state; remembers nothing."""
        return self._seen.get(key) == state

    def last(self, key: str) -> str:
        """The state in which ``key`` was last seen, empty when it never was."""
        return self._seen.get(key, "")

    def forget_all(self) -> None:
        """After something was lost on the way: the next visit hands everything on again."""
        self._seen.clear()
        self.etag = self.last_modified = ""
        self.unfinished = True


def state_of(post: FetchedPost) -> str:
    """Changes when the text does, or its counts by more than a few in a hundred.

    Exact counts would send every popular post again at each visit.
    """
    text = hashlib.blake2b(f"{post.title}\0{post.text}".encode(), digest_size=8).hexdigest()
    return f"{text}:{rounded(post.counts)}"


def rounded(counts: Counts) -> str:
    values = (counts.reposts, counts.comments, counts.likes, counts.views)
    return ",".join(str(n if n < 10 else float(f"{n:.2g}")) for n in values)
