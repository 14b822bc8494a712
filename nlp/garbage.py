"""When Python looks for cycles: not in the middle of a batch."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection meanwhile: what a batch makes holds no cycles, and looking for them
    cost a sixth of judging and a seventh of a part's time. It is looked for afterwards."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
