"""Who of the servers does not answer, and since when: asked while somebody looks.

The questions are asked by threads of their own, so that a server that hangs holds up no page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock, Thread
from time import monotonic

from pipeline.errors import NotNow, StoreBusy

EVERY_S = 1.5
SLOW_S = 2.5  # an answer may take so long; less than the 3 s after which the top line looks again
PATIENCE_S = 0.5  # how long a page waits for an answer that is on its way


@dataclass(slots=True)
class Away:
    """A server that does not answer: ``since`` when, and whether it still may (``is_slow``)."""

    since: datetime
    is_slow: bool
    error: NotNow | None = None

    @property
    def words(self) -> str:
        return "应答迟缓" if self.is_slow else "无应答"


@dataclass(slots=True)
class _Seen:
    probe: Callable[[], object]
    asked: float = float("-inf")  # monotonic seconds
    asked_at: datetime | None = None
    is_busy: bool = False
    failing_since: datetime | None = None
    error: NotNow | None = None
    answer: object = None


class Watch:
    """Asks servers whether they are there. ``probes``: name -> a question that costs little."""

    def __init__(self, probes: Mapping[str, Callable[[], object]]) -> None:
        self._seen = {name: _Seen(probe) for name, probe in probes.items()}
        self._lock = Lock()

    def away(self, now: datetime, *names: str) -> dict[str, Away]:
        """Who does not answer, of all or of ``names``. Takes half a second at most."""
        asked = {name: self._seen[name] for name in names or self._seen}
        until = monotonic() + PATIENCE_S
        for thread in [self._ask(seen, now) for seen in asked.values()]:
            if thread is not None:
                thread.join(max(0.0, until - monotonic()))
        found: dict[str, Away] = {}
        with self._lock:
            for name, seen in asked.items():
                if seen.failing_since is not None:
                    found[name] = Away(seen.failing_since, is_slow=False, error=seen.error)
                elif seen.is_busy and monotonic() - seen.asked > SLOW_S:
                    found[name] = Away(seen.asked_at or now, is_slow=True)
        return found

    def answer(self, name: str) -> object:
        """The last answer of a server; None before the first."""
        return self._seen[name].answer

    def need_store(self, now: datetime) -> None:
        """Raises: StoreBusy at once while the database is known to be away, so that nobody waits
        for it; it is asked again meanwhile."""
        away = self.away(now, "store").get("store")
        if away is not None and isinstance(away.error, StoreBusy):
            raise StoreBusy(away.error.words, detail=f"since {away.since:%H:%M:%S} UTC")

    def failed(self, name: str, now: datetime, error: NotNow) -> datetime:
        """A page met the failure itself; since when it lasts."""
        seen = self._seen[name]
        with self._lock:
            seen.failing_since, seen.error = seen.failing_since or now, error
            return seen.failing_since

    def _ask(self, seen: _Seen, now: datetime) -> Thread | None:
        with self._lock:
            if seen.is_busy or monotonic() - seen.asked < EVERY_S:
                return None
            seen.is_busy, seen.asked, seen.asked_at = True, monotonic(), now
        thread = Thread(target=self._run, args=(seen,), name="outage", daemon=True)
        thread.start()
        return thread

    def _run(self, seen: _Seen) -> None:
        answer, is_there, error = seen.answer, False, None
        try:
            answer, is_there = seen.probe(), True
        except NotNow as trouble:
            error = trouble  # the parts log it; here it is shown
        finally:
            with self._lock:
                seen.is_busy, seen.answer, seen.error = False, answer, error
                seen.failing_since = None if is_there else seen.failing_since or seen.asked_at
