"""What Prometheus gets, who gets it, and that dashboard and alert rules ask for what is there."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from sqlalchemy import insert, select, update

from dashboard.asgi import METRICS, Gate
from pipeline.app import build
from pipeline.beats import Beats
from pipeline.bus.base import Record
from pipeline.bus.topics import POSTS_RAW
from pipeline.errors import EngineDown
from pipeline.index.base import Query
from pipeline.metrics import Scrape
from pipeline.settings import Settings
from pipeline.store import tables as t
from tests.dashboard import seed
from tests.dashboard.conftest import NIGHT, Parts
from tests.engines import unique

OPS = Path(__file__).parents[2] / "docs" / "ops"
Sample = tuple[str, frozenset[tuple[str, str]]]
ANNOTATE = {"handled": 90, "buried": 2, "busy_s": 1.5, "wanted": 9, "threads": 4, "meanings": 1,
            "passed": 3, "model": "2026-11-24-abc"}  # fmt: skip


def samples(scrape: Scrape) -> dict[Sample, float]:
    return {
        (s.name, frozenset(s.labels.items())): s.value
        for family in text_string_to_metric_families(scrape.text().decode())
        for s in family.samples
    }


def of(found: dict[Sample, float], name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


@pytest.fixture
def counted(parts: Parts) -> Parts:
    """A seeded night in which the annotator and the outbox have something to say."""
    with parts.store.begin(NIGHT) as tx:
        tx.conn.execute(
            update(t.heartbeats).where(t.heartbeats.c.part == "annotate").values(figures=ANNOTATE)
        )
        tx.conn.execute(
            update(t.outbox).values(sent_at=None, created_at=NIGHT - timedelta(minutes=2))
        )
        tx.conn.execute(
            insert(t.deliveries),
            [
                {"dedup_key": f"k{n}", "reason": "alert", "receiver": "duty-phone-13800000000",
                 "channel": "webhook", "title": "t", "body": "b", "state": state,
                 "not_before": NIGHT - timedelta(seconds=90), "sent_at": sent,
                 "created_at": NIGHT - timedelta(seconds=100)}
                for n, (state, sent) in enumerate(
                    [("sent", NIGHT - timedelta(seconds=97)), ("failed", None)])
            ],
        )  # fmt: skip
    return parts


def test_figures_are_those_of_store_bus_and_index(counted: Parts) -> None:
    found = samples(Scrape(counted))
    for engine in ("store", "bus", "index"):
        assert of(found, "tingfeng_engine_up", engine=engine) == 1
    with counted.store.read() as conn:
        outbox = len(conn.execute(select(t.outbox.c.id)).all())
        alerts = conn.execute(select(t.alerts.c.state)).scalars().all()
        d = t.deliveries.c
        failed = conn.execute(select(d.not_before).where(d.state == "failed")).scalars().all()
        late = len(
            conn.execute(
                select(t.clocks.c.id).where(
                    t.clocks.c.met_at.is_(None),
                    t.clocks.c.cancelled_at.is_(None),
                    t.clocks.c.due_at <= NIGHT,
                )
            ).all()
        )
    assert outbox and of(found, "tingfeng_outbox_waiting_messages") == outbox
    assert of(found, "tingfeng_outbox_oldest_age_seconds") == 120
    assert alerts.count("new") and of(found, "tingfeng_alerts", state="new") == alerts.count("new")
    assert sum(v for (name, _), v in found.items() if name == "tingfeng_clocks_overdue") == late
    assert of(found, "tingfeng_part_silent_seconds", part="detect") == 4
    assert of(found, "tingfeng_part_messages_total", part="annotate") == 90
    assert of(found, "tingfeng_part_busy_seconds_total", part="annotate") == 1.5
    assert of(found, "tingfeng_part_dead_letters_total", part="annotate") == 2
    assert of(found, "tingfeng_second_tier_posts_total", part="annotate", look="passed") == 3
    assert of(found, "tingfeng_model_info", part="annotate", version="2026-11-24-abc") == 1
    assert of(found, "tingfeng_source_state", source="贴吧导入", state="late") == 1
    assert of(found, "tingfeng_source_success_age_seconds", source="贴吧导入") == 2400
    assert of(found, "tingfeng_index_posts") == counted.index.count(Query())
    assert of(found, "tingfeng_deliveries", state="failed") == len(failed)
    late_s = (NIGHT - min(failed)).total_seconds()
    assert of(found, "tingfeng_delivery_overdue_seconds") == late_s >= 90
    up_to_2, up_to_5 = (
        of(found, "tingfeng_delivery_delay_seconds_bucket", le=le) for le in ("2.0", "5.0")
    )
    assert up_to_5 - up_to_2 == 1
    assert of(found, "tingfeng_bus_lag_messages", group="detect", topic="posts.annotated") == 0


def test_no_label_names_a_person_a_post_or_a_receiver(counted: Parts) -> None:
    text = Scrape(counted).text().decode()
    with counted.store.read() as conn:
        words = {name for _, name, *_ in seed.PEOPLE} | {"13800000000", "duty-phone"}
        words |= set(conn.execute(select(t.alerts.c.fingerprint)).scalars())
        words |= set(conn.execute(select(t.events.c.id)).scalars())
        words |= set(conn.execute(select(t.events.c.title)).scalars())
        words |= set(conn.execute(select(t.event_posts.c.post_id)).scalars())
    assert not [word for word in words if word and word in text]


def test_a_drill_divides_what_machines_do_by_its_pace(counted: Parts) -> None:
    class Fast:
        pace = 2.0

        def now(self) -> Any:
            return NIGHT

    found = samples(Scrape(replace(counted, clock=Fast(), is_drill=True)))
    assert of(found, "tingfeng_drill") == 1
    assert of(found, "tingfeng_part_silent_seconds", part="detect") == 2
    assert of(found, "tingfeng_outbox_oldest_age_seconds") == 60


class FrozenBus:
    """Answers once it is let go."""

    def __init__(self) -> None:
        self.go, self.asked = threading.Event(), 0

    def lag(self, group: str, topics: list[str]) -> int:
        self.asked += 1
        self.go.wait(60)
        return 5

    def dead_count(self) -> int:
        return 0


def test_a_frozen_engine_costs_its_own_figures_and_one_thread(counted: Parts) -> None:
    bus = FrozenBus()
    scrape = Scrape(replace(counted, bus=bus), answer_s=0.3)
    for _ in range(3):
        found = samples(scrape)
        assert of(found, "tingfeng_engine_up", engine="bus") == 0
        assert of(found, "tingfeng_engine_up", engine="store") == 1
        assert not [name for name, _ in found if name == "tingfeng_bus_lag_messages"]
    assert bus.asked == 1
    bus.go.set()
    for thread in threading.enumerate():
        if thread.name == "metrics-bus":
            thread.join(10)
    found = samples(scrape)
    assert of(found, "tingfeng_bus_lag_messages", group="annotate", topic="posts.raw") == 5


def test_an_engine_that_is_down_says_so(counted: Parts) -> None:
    class Down:
        def count(self, _query: Any) -> int:
            raise EngineDown("Elasticsearch does not answer")

    found = samples(Scrape(replace(counted, index=Down())))
    assert of(found, "tingfeng_engine_up", engine="index") == 0
    assert of(found, "tingfeng_engine_up", engine="bus") == 1


@pytest.mark.engines
def test_the_same_figures_come_from_the_three_servers(
    kafka_address: str, es_url: str, pg_url: str, tmp_path: Path
) -> None:
    import psycopg

    name, base = unique("m"), pg_url.rpartition("/")[0]
    with psycopg.connect(pg_url, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}"'.encode())
    app = build(
        Settings(
            profile="distributed",
            home=tmp_path,
            kafka_servers=(kafka_address,),
            elastic_urls=(es_url,),
            database_url=SecretStr(f"{base}/{name}"),
            prefix=name,
        )
    )
    try:
        app.bus.publish(POSTS_RAW.name, [Record("k", b"1"), Record("k", b"2")])
        Beats(app, "annotate", figures=lambda: ANNOTATE)()
        found = samples(Scrape(app, answer_s=30))
        for engine in ("store", "bus", "index"):
            assert of(found, "tingfeng_engine_up", engine=engine) == 1
        assert of(found, "tingfeng_bus_lag_messages", group="annotate", topic="posts.raw") == 2
        assert of(found, "tingfeng_part_messages_total", part="annotate") == 90
        assert of(found, "tingfeng_index_posts") == 0
    finally:
        app.index.forget_everything()  # type: ignore[attr-defined]
        app.close()
        with psycopg.connect(pg_url, autocommit=True) as conn:
            conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


# ---- who may read it ------------------------------------------------------------------------


def answer(
    *,
    token: str = "",
    client: str = "127.0.0.1",
    host: str = "127.0.0.1:8501",
    headers: dict[str, str] | None = None,
) -> int:
    """The status that the gate gives; 200 when it lets the question through."""
    statuses: list[int] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    sent = {"host": host, **(headers or {})}
    scope = {
        "type": "http",
        "method": "GET",
        "path": METRICS,
        "query_string": b"",
        "client": (client, 40000),
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in sent.items()],
    }
    gate = Gate(inner, None, ("desk.example.cn",), token)  # type: ignore[arg-type]
    asyncio.run(gate(scope, receive, send))
    return statuses[0]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({}, 200),
        ({"client": "::1", "host": "[::1]:8501"}, 200),
        ({"client": "10.0.0.7"}, 403),
        ({"client": "testclient"}, 403),
        ({"host": "desk.example.cn"}, 403),  # a name others use: a proxy, or a rebound page
        ({"headers": {"x-forwarded-for": "127.0.0.1"}}, 403),
        ({"headers": {"via": "1.1 proxy"}}, 403),
        ({"token": "secret"}, 401),
        ({"token": "secret", "headers": {"authorization": "Bearer wrong"}}, 401),
        ({"token": "secret", "headers": {"authorization": "Bearer \xe9"}}, 401),
        ({"token": "secret", "headers": {"authorization": "secret"}}, 401),
        ({"token": "s", "client": "10.0.0.7", "host": "board:8501",
          "headers": {"authorization": "Bearer s"}}, 200),
    ],
)  # fmt: skip
def test_only_this_machine_or_the_token(asked: dict[str, Any], status: int) -> None:
    assert answer(**asked) == status


# ---- what docs/ops asks for -----------------------------------------------------------------


def alert_rules() -> Iterator[tuple[str, str, str]]:
    file = yaml.safe_load((OPS / "alerts.yml").read_text("utf-8"))
    for group in file["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"], " ".join(rule["annotations"].values())


def panels() -> Iterator[tuple[str, str, str]]:
    file = json.loads((OPS / "grafana-dashboard.json").read_text("utf-8"))
    for panel in file["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]


NAMED = re.compile(r"(tingfeng_[a-z_]+)(\{[^}]*\})?")


@pytest.mark.parametrize("read", [alert_rules, panels])
def test_every_metric_and_label_asked_for_is_in_a_real_scrape(
    counted: Parts, read: Callable[[], Iterator[tuple[str, str, str]]]
) -> None:
    there: dict[str, list[dict[str, str]]] = {}
    for name, labels in samples(Scrape(counted)):
        there.setdefault(name, []).append(dict(labels))
    asked = 0
    for title, expr, said in read():
        found = NAMED.findall(expr)
        for name, selector in found:
            asked += 1
            assert name in there, f"{title}: no metric {name}"
            wanted = dict(re.findall(r'(\w+)="([^"]*)"', selector))
            assert [x for x in there[name] if wanted.items() <= x.items()], f"{title}: {selector}"
        known = {label for name, _ in found for labels in there[name] for label in labels}
        used = set(re.findall(r"\{\{\s*(?:\$labels\.)?([a-z]+)\s*\}\}", said))
        used |= set(re.findall(r"by \((\w+)\)", expr))
        assert used <= known, f"{title}: labels {used - known}"
    assert asked > 10


def test_every_metric_is_on_the_dashboard(counted: Parts) -> None:
    shown = {name for _, expr, _ in panels() for name, _ in NAMED.findall(expr)}
    ours = {re.sub("_(bucket|gsum|gcount)$", "", name) for name, _ in samples(Scrape(counted))}
    assert not {name for name in ours if not any(s.startswith(name) for s in shown)}


def test_every_alert_rule_says_what_to_do() -> None:
    names = [name for name, _, _ in alert_rules()]
    assert len(names) == len(set(names)) >= 7
    file = yaml.safe_load((OPS / "alerts.yml").read_text("utf-8"))
    for rule in file["groups"][0]["rules"]:
        assert set(rule["annotations"]) == {"summary", "action"}, rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_the_scrape_example_names_our_rules_and_path() -> None:
    file = yaml.safe_load((OPS / "prometheus.yml").read_text("utf-8"))
    assert file["rule_files"] == ["alerts.yml"] and (OPS / "alerts.yml").exists()
    assert file["scrape_configs"][0]["metrics_path"] == METRICS
    assert file["scrape_configs"][0]["job_name"] == "tingfeng"
