"""事件."""

from __future__ import annotations

from dashboard.acting import Visit


def page(visit: Visit) -> None:
    del visit
