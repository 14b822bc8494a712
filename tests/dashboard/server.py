"""Serve a seeded folder as the product does: ``python -m tests.dashboard.server HOME PORT``."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from dashboard.asgi import make_app
from pipeline.clock import WallClock
from tests.dashboard.conftest import build

if __name__ == "__main__":
    uvicorn.run(
        make_app(build(Path(sys.argv[1]), WallClock())),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        log_level="warning",
    )
