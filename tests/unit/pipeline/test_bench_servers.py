"""The bench finds the servers' processes by their addresses and adds up what all of them take."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from pipeline.bench_servers import Meter, server_pids
from pipeline.settings import load_settings


def test_a_server_is_the_process_that_listens_at_its_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        settings = load_settings(
            tmp_path,
            profile="distributed",
            kafka_servers=(f"127.0.0.1:{port}",),
            elastic_urls=("http://127.0.0.1:9",),
            database_url="postgresql://a:b@127.0.0.1:9/c",
        )
        assert server_pids(settings) == {"kafka": os.getpid()}
    assert server_pids(settings) == {}


def test_all_is_the_sum_of_processes_and_of_our_own_acts() -> None:
    meter = Meter({"this": os.getpid(), "gone": 2**22 + 1})
    with meter.own("work"):
        assert sum(n * n for n in range(300_000)) > 0
    spent = meter.microseconds(10)
    assert spent["work"] > 0
    assert spent["gone"] == 0
    assert abs(spent["all"] - spent["this"] - spent["work"]) < 1
