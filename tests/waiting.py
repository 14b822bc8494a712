"""Waiting for something real, with an end."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest


def until(test: Callable[[], object], limit_s: float = 30.0) -> bool:
    """Whether it becomes so within ``limit_s``."""
    end = time.monotonic() + limit_s
    while not test():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def wait_for(test: Callable[[], object], what: str, limit_s: float = 120.0) -> float:
    """Seconds until it is so. The test that waits fails when it is not within ``limit_s``."""
    began = time.monotonic()
    if not until(test, limit_s):
        pytest.fail(f"not within {limit_s} s: {what}")
    return time.monotonic() - began
