"""Posts that belong to no event: each counted once, and how many came lately at a place."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any

from pipeline.stages.matter import Reading
from pipeline.stages.memory import moment


def is_talk(post: Reading) -> bool:
    """Whether a post that joined nothing counts as a place's talk about its weather."""
    return bool(post.relevant and not post.official and post.prefecture and post.group)


class TalkMemory:
    """``posts``: post id -> order of arrival, of what arrived in the open hours."""

    def __init__(self) -> None:
        self.cut = 0
        self.posts: dict[str, int] = {}
        self.new: list[dict[str, Any]] = []
        self._ticks: dict[tuple[str, str], list[tuple[int, int]]] = {}  # (at, seq), sorted

    def holds(self, post_id: str) -> bool:
        """Whether a post has been taken already."""
        return self.posts.get(post_id, -1) >= self.cut

    def add(self, post: Reading, seq: int) -> None:
        """Remember a post that joined nothing."""
        self.posts[post.post.id] = seq
        counted = is_talk(post)
        self.new.append(
            {
                "post_id": post.post.id,
                "seq": seq,
                "at": moment(post.at),
                "adcode": post.prefecture if counted else "",
                "hazard": post.group if counted else "",
            }
        )

    def tick(self, prefecture: str, group: str, at: int, seq: int) -> None:
        """One post of talk about a hazard at a place."""
        times = self._ticks.setdefault((prefecture, group), [])
        entry = (at, seq)
        if times and entry < times[-1]:
            insort(times, entry)
        else:
            times.append(entry)

    def within(self, prefecture: str, group: str, start: int, end: int) -> int:
        """Posts of talk after ``start`` and not after ``end``."""
        times = self._ticks.get((prefecture, group))
        if not times:
            return 0
        return bisect_left(times, (end + 1, 0)) - bisect_left(times, (start + 1, 0))

    def forget(self, cut: int) -> None:
        """Forget what arrived before ``cut``."""
        self.cut = cut
        self.posts = {p: s for p, s in self.posts.items() if s >= cut}
        for key, times in list(self._ticks.items()):
            kept = [entry for entry in times if entry[1] >= cut]
            if kept:
                self._ticks[key] = kept
            else:
                del self._ticks[key]

    def written(self) -> None:
        """The new rows are in the database."""
        self.new = []
