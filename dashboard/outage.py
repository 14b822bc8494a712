"""When a server is away: what is said about it, and what of the board goes on.

A screen that asks the index says one line instead of its content and does not wait for a server
that is known to be away; everything that rests on the database goes on. What is away, and since
when, stands in the top line. Without the database there is no page: one sentence stands in its
place, and the top line, which looks every few seconds, brings the page back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, Literal, ParamSpec

import streamlit as st
import structlog

from dashboard import words
from dashboard.context import current
from pipeline.errors import EngineDown, NotNow, StoreBusy, TingfengError
from pipeline.store.trouble import AWAY, was_cut_off

if TYPE_CHECKING:
    from dashboard.acting import Visit

log = structlog.get_logger("outage")

P = ParamSpec("P")
Server = Literal["index", "bus"]

NAMES: dict[str, str] = {"store": "数据库", "index": "帖文检索", "bus": "消息通道"}
LINES: dict[str, str] = {
    "index": "帖文检索暂时不可用：搜索和帖文原文看不到，恢复后自动可用。预警、处置、求助照常办理。",
    "bus": "消息通道暂时不可用：新帖暂存，恢复后自动补上。预警、处置、求助照常办理。",
}

_LOST = "_lost"


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
                desk.watch.failed(server, desk.now(), error)
                st.warning(LINES[server])

        return run

    return decorate


def kept_open(body: Callable[P, None]) -> Callable[P, None]:
    """For a piece of a page: a database that is away gives a sentence, not a crash, and is not
    waited for by one piece after the other."""

    @wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            desk = current()
            desk.watch.need_store(desk.now())
            body(*args, **kwargs)
        except EngineDown as error:
            log.warning("a page could not ask", error=str(error))
            st.warning(LINES["index"])
        except StoreBusy as error:
            log.warning("a page could not read", error=str(error))
            st.session_state[_LOST] = True
            st.error(store_line(error))
        except NotNow as error:
            st.error(in_words(error))

    return run


@contextmanager
def in_passing() -> Iterator[None]:
    """For what a page notes beside its own matter: a busy database does not keep it from opening.

    Raises: StoreBusy when it was silent, or the page would wait for it a second time.
    """
    try:
        yield
    except NotNow as error:
        if isinstance(error, StoreBusy) and error.words == AWAY and was_cut_off(error):
            raise
        log.warning("not noted", error=str(error))


def store_line(error: StoreBusy) -> str:
    """What stands in place of a page while the database is away."""
    desk = current()
    since = desk.watch.failed("store", desk.now(), error)
    cause = "" if error.words == AWAY else f"{error.words}。"
    return (
        f"{NAMES['store']} {words.clock(since)} 起无应答：{cause}恢复前不能查看和办理，"
        "恢复后本页自动更新；刚才的操作未见结果的，恢复后请重新办理。"
    )


def in_words(error: TingfengError) -> str:
    """An error as a screen says it."""
    return error.words if isinstance(error, StoreBusy) else str(error)


def brought_back() -> bool:
    """True once after the database was missed on this page: then all of it is shown anew."""
    return bool(st.session_state.pop(_LOST, False))
