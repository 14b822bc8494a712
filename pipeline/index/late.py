"""An index that is opened at its first use.

A part must start without the search server, also after a restart in the middle of the night:
cases, clocks and alerts do not need it, and who does need it says so at every question.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Any, cast

from pipeline.errors import EngineDown
from pipeline.index.base import Index


class _Late:
    def __init__(self, opened: Callable[[], Index]) -> None:
        self._open = opened
        self._index: Index | None = None
        self._lock = Lock()
        self._failed: tuple[float, str] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened(), name)

    def _opened(self) -> Index:
        """Whoever waits while another one meets a silent server has met it too: a crowd waits as
        long as one."""
        came = monotonic()
        with self._lock:
            if self._index is None:
                if self._failed is not None and self._failed[0] > came:
                    raise EngineDown(self._failed[1])
                try:
                    self._index = self._open()
                except EngineDown as error:
                    self._failed = (monotonic(), str(error))
                    raise
            return self._index

    def close(self) -> None:
        with self._lock:
            if self._index is not None:
                self._index.close()


def late_index(opened: Callable[[], Index]) -> Index:
    """The index that ``opened`` gives. It is asked again until it does: every use of the index
    raises what it raises, EngineDown above all."""
    return cast(Index, _Late(opened))
