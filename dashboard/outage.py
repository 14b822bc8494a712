"""When a server is away: what is said about it, and what of the board goes on.

A screen that asks the index says one line instead of its content and does not wait for a server
that is known to be away; everything that rests on the database goes on. What is away, and since
when, stands in the top line. The questions to the servers are asked by threads of their own, only
while somebody looks, so that a server that hangs holds up no page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from threading import Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Concatenate, Literal, ParamSpec

import streamlit as st
import structlog

from pipeline.errors import EngineDown, NotNow

if TYPE_CHECKING:
    from dashboard.acting import Visit

log = structlog.get_logger("outage")

P = ParamSpec("P")
Server = Literal["index", "bus"]

NAMES: dict[str, str] = {"index": "帖文检索", "bus": "消息通道"}
LINES: dict[str, str] = {
    "index": "帖文检索暂时不可用：搜索和帖文原文看不到，恢复后自动可用。预警、处置、求助照常办理。",
    "bus": "消息通道暂时不可用：新帖暂存，恢复后自动补上。预警、处置、求助照常办理。",
}

EVERY_S = 1.5
SLOW_S = 3.0  # an answer may take so long before the top line says so
PATIENCE_S = 0.5  # how long a page waits for an answer that is on its way


@dataclass(slots=True)
class Away:
    """A server that does not answer: ``since`` when, and whether it still may (``is_slow``)."""

    since: datetime
    is_slow: bool

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
    answer: object = None


class Watch:
    """Asks servers whether they are there. ``probes``: name -> a question that costs little."""

    def __init__(self, probes: Mapping[str, Callable[[], object]]) -> None:
        self._seen = {name: _Seen(probe) for name, probe in probes.items()}
        self._lock = Lock()

    def away(self, now: datetime) -> dict[str, Away]:
        """Who does not answer. Takes half a second at most."""
        until = monotonic() + PATIENCE_S
        for thread in [self._ask(seen, now) for seen in self._seen.values()]:
            if thread is not None:
                thread.join(max(0.0, until - monotonic()))
        found: dict[str, Away] = {}
        with self._lock:
            for name, seen in self._seen.items():
                if seen.failing_since is not None:
                    found[name] = Away(seen.failing_since, is_slow=False)
                elif seen.is_busy and monotonic() - seen.asked > SLOW_S:
                    found[name] = Away(seen.asked_at or now, is_slow=True)
        return found

    def answer(self, name: str) -> object:
        """The last answer of a server; None before the first."""
        return self._seen[name].answer

    def failed(self, name: str, now: datetime) -> None:
        """A page met the failure itself."""
        seen = self._seen[name]
        with self._lock:
            seen.failing_since = seen.failing_since or now

    def _ask(self, seen: _Seen, now: datetime) -> Thread | None:
        with self._lock:
            if seen.is_busy or monotonic() - seen.asked < EVERY_S:
                return None
            seen.is_busy, seen.asked, seen.asked_at = True, monotonic(), now
        thread = Thread(target=self._run, args=(seen,), name="outage", daemon=True)
        thread.start()
        return thread

    def _run(self, seen: _Seen) -> None:
        answer, is_there = seen.answer, False
        try:
            answer, is_there = seen.probe(), True
        except NotNow:
            pass  # the parts log it; here it is shown
        finally:
            with self._lock:
                seen.is_busy, seen.answer = False, answer
                seen.failing_since = None if is_there else seen.failing_since or seen.asked_at


def needs(
    server: Server,
) -> Callable[[Callable[Concatenate[Visit, P], None]], Callable[Concatenate[Visit, P], None]]:
    """For a piece of a page that asks a server: its line instead, while the server is away."""

    def decorate(
        body: Callable[Concatenate[Visit, P], None],
    ) -> Callable[Concatenate[Visit, P], None]:
        @wraps(body)
        def run(visit: Visit, /, *args: P.args, **kwargs: P.kwargs) -> None:
            desk = visit.desk
            if server in desk.watch.away(desk.now()):
                st.warning(LINES[server])
                return
            try:
                body(visit, *args, **kwargs)
            except EngineDown as error:
                log.warning("a page could not ask", server=server, error=str(error))
                desk.watch.failed(server, desk.now())
                st.warning(LINES[server])

        return run

    return decorate


def kept_open(body: Callable[P, None]) -> Callable[P, None]:
    """For a page or a fragment: a database that is away gives a sentence, not a crash."""

    @wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            body(*args, **kwargs)
        except EngineDown as error:
            log.warning("a page could not ask", error=str(error))
            st.warning(LINES["index"])
        except NotNow as error:
            st.error(str(error))

    return run
