"""The subscriber that the docs give to offices, on a real broker."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipeline.bus.base import Record, encode
from pipeline.bus.schemas import load_schema
from pipeline.bus.topics import ALERTS
from tests.engines import unique

pytestmark = pytest.mark.engines

SCRIPT = Path(__file__).parents[2] / "docs" / "subscriber.py"
NOW = datetime(2026, 6, 12, 14, 0, tzinfo=UTC)


def alert(number: int, **extra: object) -> dict[str, Any]:
    body = {
        "fingerprint": f"{number:020x}", "rule": "help_call", "rung": "", "event_id": f"e{number}",
        "level": 2, "level_name": "较大", "kind": "help", "title": "求助",
        "sentence": f"第{number}条求助", "figures": {}, "hazard": "rain", "adcode": "450103",
        "place_name": "青秀区",
        "routing": {"lead": "应急管理局", "helpers": [], "copies": [], "rule": ""}, "links": [],
        "warnings": [], "asked": "请核实", "state": "new", "state_reason": "",
        "fired_at": NOW.isoformat(), "last_at": NOW.isoformat(), **extra,
    }  # fmt: skip
    check = Draft202012Validator(load_schema("alert/1"))
    assert list(check.iter_errors(body)) == []
    return body


def test_the_documented_subscriber_says_every_alert_once(kafka_address: str) -> None:
    from pipeline.bus.kafka import KafkaBus

    prefix = f"{unique()}."
    bus = KafkaBus(kafka_address.split(","), prefix=prefix)

    def publish(
        number: int, schema: str = "alert/1", message_id: str = "", **extra: object
    ) -> None:
        value = encode(schema, alert(number, **extra), NOW, message_id=message_id)
        bus.publish(ALERTS.name, [Record(f"{number:020x}", value)])

    def run(lines: int) -> list[str]:
        command = [sys.executable, str(SCRIPT), kafka_address, f"{prefix}office"]
        process = subprocess.Popen(
            [*command, prefix + ALERTS.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(lines)]
        until = time.monotonic() + 20
        while bus.lag("office", [ALERTS.name]) and time.monotonic() < until:
            time.sleep(0.1)
        process.kill()  # as a machine that fails: what it did is committed
        rest = process.stdout.read().splitlines()
        process.stdout.close()
        process.wait()
        return said + rest

    publish(1, message_id="m1")
    publish(1, message_id="m1")  # everything may arrive twice
    publish(2, schema="alert/2")  # another major version
    publish(3, new_field="readers accept what they do not know")
    assert sorted(run(2)) == ["较大 青秀区 第1条求助", "较大 青秀区 第3条求助"]
    publish(4)
    assert run(1) == ["较大 青秀区 第4条求助"], "it goes on where it stopped"
    bus.close()
