"""Who reads which lane: the members of a group divide the lanes of their topics.

Every member computes the same division from the list of living members. It *gives up* a lane
that is no longer its share only when nothing polled from it waits for a commit, and *takes* a
lane of its share only when nobody living owns it: so two members never work on one lane at a
time, unless one was silent for a whole lease and is taken for dead.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from pipeline.bus.base import uuid7
from pipeline.posts_db import PostsDb


class Leases:
    """One member's side of the division. Belongs to one thread.

    ``owned``: lanes this member owns; ``readable``: those of them it shall go on reading.
    ``lanes``: topic -> lane numbers.
    """

    def __init__(
        self,
        db: PostsDb,
        group: str,
        lanes: Mapping[str, tuple[int, ...]],
        *,
        lease_s: float,
        ticks: Callable[[], float],
    ) -> None:
        self.member = uuid7()
        self.owned: frozenset[int] = frozenset()
        self.readable: frozenset[int] = frozenset()
        self._db = db
        self._group = group
        self._lanes = lanes
        self._topics = " ".join(lanes)
        self._lease_s = lease_s
        self._ticks = ticks
        self._renewed = float("-inf")

    def balance(self, busy: AbstractSet[int]) -> None:
        """Renew the lease, give up and take lanes. ``busy``: lanes with uncommitted messages.

        Writes only when something changes or a third of the lease has passed.
        """
        with self._db.snapshot() as conn:
            share, owners = self._look(conn)
        mine = frozenset(lane for lane, owner in owners.items() if owner == self.member)
        wanted = {lane for lane in share - mine if lane not in owners}
        surplus = mine - share - busy
        due = self._ticks() - self._renewed >= self._lease_s / 3
        if due or wanted or surplus:
            with self._db.write() as conn:
                self.renew(conn)
                share, mine = self._change(conn, busy)
        self.owned = mine
        self.readable = mine & share

    def is_mine(self, conn: sqlite3.Connection, lane: int) -> bool:
        """True while no other member owns the lane."""
        row = conn.execute(
            "SELECT member FROM bus_owner WHERE grp = ? AND lane = ?", (self._group, lane)
        ).fetchone()
        return row is not None and row[0] == self.member

    def renew(self, conn: sqlite3.Connection) -> None:
        """Write that this member lives."""
        self._renewed = self._ticks()
        conn.execute(
            "INSERT INTO bus_member (grp, member, topics, renewed, lease_s) VALUES (?,?,?,?,?)"
            " ON CONFLICT (grp, member) DO UPDATE SET renewed = excluded.renewed",
            (self._group, self.member, self._topics, self._renewed, self._lease_s),
        )

    def leave(self) -> None:
        """Stop being a member; the lanes are free at once."""
        with self._db.write() as conn:
            self._forget(conn, self.member)
        self.owned = self.readable = frozenset()
        self._renewed = float("-inf")

    def _look(self, conn: sqlite3.Connection) -> tuple[frozenset[int], dict[int, str]]:
        """This member's share, and who living owns what."""
        living = self._living(conn)
        owners = {
            lane: owner
            for lane, owner in conn.execute(
                "SELECT lane, member FROM bus_owner WHERE grp = ?", (self._group,)
            )
            if owner in living
        }
        return self._share(living), owners

    def _living(self, conn: sqlite3.Connection) -> dict[str, str]:
        """Member -> topics. A lease from the future is one from before a restart: dead."""
        now = self._ticks()
        living = {
            member: topics
            for member, topics, renewed, lease_s in conn.execute(
                "SELECT member, topics, renewed, lease_s FROM bus_member WHERE grp = ?",
                (self._group,),
            )
            if 0 <= now - renewed < lease_s
        }
        living[self.member] = self._topics
        return living

    def _share(self, living: Mapping[str, str]) -> frozenset[int]:
        mine: set[int] = set()
        for topic, lanes in self._lanes.items():
            readers = sorted(m for m, topics in living.items() if topic in topics.split(" "))
            turn = readers.index(self.member)
            mine.update(lanes[turn :: len(readers)])
        return frozenset(mine)

    def _change(
        self, conn: sqlite3.Connection, busy: AbstractSet[int]
    ) -> tuple[frozenset[int], frozenset[int]]:
        living = self._living(conn)
        known = conn.execute("SELECT member FROM bus_member WHERE grp = ?", (self._group,))
        for (member,) in known.fetchall():
            if member not in living:
                self._forget(conn, member)
        share, owners = self._look(conn)
        mine = {lane for lane, owner in owners.items() if owner == self.member}
        for lane in mine - share - busy:
            conn.execute("DELETE FROM bus_owner WHERE grp=? AND lane=?", (self._group, lane))
        for lane in share - owners.keys():
            conn.execute(
                "INSERT OR REPLACE INTO bus_owner (grp, lane, member) VALUES (?, ?, ?)",
                (self._group, lane, self.member),
            )
            mine.add(lane)
        return share, frozenset(mine - (mine - share - busy))

    def _forget(self, conn: sqlite3.Connection, member: str) -> None:
        conn.execute("DELETE FROM bus_member WHERE grp=? AND member=?", (self._group, member))
        conn.execute("DELETE FROM bus_owner WHERE grp=? AND member=?", (self._group, member))
