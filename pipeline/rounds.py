"""What a part does again and again: at its times, and whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

log = structlog.get_logger("parts")


class Every:
    """True at the first question and then once per ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last = time.monotonic() - seconds

    def is_due(self) -> bool:
        due = time.monotonic() - self._last >= self.seconds
        if due:
            self._last = time.monotonic()
        return due


_troubles: dict[str, str] = {}


def attempt(what: str, act: Callable[[], object]) -> None:
    """Do it; a failure is logged once until it changes, and tried again on the next round."""
    try:
        act()
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        if _troubles.get(what) != text:
            _troubles[what] = text
            log.exception("a round failed; trying again", what=what)
    else:
        if _troubles.pop(what, None):
            log.info("works again", what=what)
