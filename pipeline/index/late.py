"""An index that is opened at its first use.

A part must start without the search server, also after a restart in the middle of the night:
cases, clocks and alerts do not need it, and who does need it says so at every question.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, cast

from pipeline.index.base import Index


class _Late:
    def __init__(self, opened: Callable[[], Index]) -> None:
        self._open = opened
        self._index: Index | None = None
        self._lock = Lock()

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._index is None:
                self._index = self._open()
        return getattr(self._index, name)

    def close(self) -> None:
        with self._lock:
            if self._index is not None:
                self._index.close()


def late_index(opened: Callable[[], Index]) -> Index:
    """The index that ``opened`` gives. It is asked again until it does: every use of the index
    raises what it raises, EngineDown above all."""
    return cast(Index, _Late(opened))
