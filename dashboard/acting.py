"""From a click to the desk: one act, one transaction, and what the officer sees afterwards.

The session is looked up again inside the transaction of every act, so a right taken away
counts at once. On any refusal the page keeps what was typed and says what to do next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

import streamlit as st

from dashboard.auth import SID, Session, find_session, still_here
from dashboard.context import Desk, current
from dashboard.outage import in_passing, in_words
from pipeline.domain.rights import Actor
from pipeline.errors import DeskError, NotNow
from pipeline.store.sql import Tx

T = TypeVar("T")
UNDO_S = 10.0
AT_ONCE_S = 1.0


def who() -> Session | None:
    """The session behind this browser, read anew; None when it has ended.

    Raises: StoreBusy, at once while the database is known to be away.
    """
    sid = st.session_state.get("_sid") or st.context.cookies.get(SID, "")
    if not isinstance(sid, str) or not sid:
        return None
    desk = current()
    desk.watch.need_store(desk.now())
    st.session_state["_sid"] = sid
    return find_session(desk, sid)


def here(session: Session) -> None:
    """A person did something: the idle time starts anew. Asked at most twice a minute."""
    if monotonic() - st.session_state.get("_touched", -1e9) > 30:
        st.session_state["_touched"] = monotonic()
        with in_passing():
            still_here(current(), session.sid)


@dataclass(frozen=True, slots=True)
class Visit:
    """What a page gets: the desk, and who looks at it."""

    desk: Desk
    actor: Actor


@dataclass(frozen=True, slots=True)
class Undo:
    """An act that can be taken back for ten seconds."""

    label: str
    act: Callable[[Tx, Actor], object]
    until: float


def do(
    desk: Desk,
    act: Callable[[Tx, Actor], object],
    done: str,
    *,
    undo: Callable[[Tx, Actor], object] | None = None,
) -> bool:
    """Run an act; say ``done`` or why it was refused. True when it is done.

    ``undo``: what takes it back, offered for ten seconds.
    """
    ok, _ = _run(desk, act, done)
    if ok and undo is not None:
        st.session_state["_undo"] = Undo(done, undo, monotonic() + UNDO_S)
    return ok


def make(desk: Desk, act: Callable[[Tx, Actor], T], done: str) -> T | None:
    """Run an act that gives something, as the number of a new case; None when it was refused."""
    return _run(desk, act, done)[1]


def _run(desk: Desk, act: Callable[[Tx, Actor], T], done: str) -> tuple[bool, T | None]:
    try:
        session = who()
        if session is None:
            return _refused("登录已结束，请重新登录后再操作。")
        here(session)
        with desk.store.begin(desk.now()) as tx:
            result = act(tx, session.actor)
    except (DeskError, NotNow) as error:
        return _refused(in_words(error))
    desk.shared.forget()
    say(done)
    return True, result


def _refused(text: str) -> tuple[bool, None]:
    """Say why, beside the button; and again above the page when the act's rerun sweeps it away."""
    st.error(text)
    say(text, bad=True)
    return False, None


def say(text: str, *, bad: bool = False) -> None:
    """Keep a sentence for the page to show; it survives the rerun that follows an act."""
    st.session_state["_said"] = (text, bad, monotonic())


def said() -> None:
    """Show what the last act said, once on this run."""
    kept = st.session_state.pop("_said", None)
    if kept is None:
        return
    text, bad, at = kept
    if not bad:
        st.toast(text)
    elif monotonic() - at < AT_ONCE_S:  # later it is a new click: it was read where it happened
        st.error(text)


def pending_undo() -> tuple[Undo, int] | None:
    """The act that can still be taken back, and the seconds left for it."""
    undo: Undo | None = st.session_state.get("_undo")
    if undo is None:
        return None
    left = undo.until - monotonic()
    if left <= 0:
        st.session_state.pop("_undo", None)
        return None
    return undo, int(left) + 1
