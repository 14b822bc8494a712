"""Waiting for something real, with an end."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest


def wait_for(test: Callable[[], object], what: str, limit_s: float = 120.0) -> float:
    """Seconds until it is so. The test that waits fails when it is not within ``limit_s``."""
    began = time.monotonic()
    while not test():
        if time.monotonic() - began > limit_s:
            pytest.fail(f"not within {limit_s} s: {what}")
        time.sleep(0.1)
    return time.monotonic() - began
