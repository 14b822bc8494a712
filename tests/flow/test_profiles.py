"""One night on both profiles: the same posts in, the same events, alerts, cases and figures out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import select

from nlp.claims import load_library
from pipeline.app import App, build
from pipeline.bus.topics import ALERTS
from pipeline.commands.doctor import examine
from pipeline.commands.exporting import export_records
from pipeline.desk import alerts, assignments, cases, claims
from pipeline.desk.review import load_review
from pipeline.domain.alert import AlertState
from pipeline.domain.rights import Actor, Role
from pipeline.index.base import Query
from pipeline.settings import Settings
from pipeline.stages.relay import Relay
from pipeline.store import tables as t
from pipeline.store.sql import verify_audit
from tests.engines import unique
from tests.flow.night import START, NightClock, play

pytestmark = pytest.mark.engines
DUTY = Actor(1, "duty", Role.DUTY)
LEADER = Actor(2, "leader", Role.LEADER)
KEY = "k" * 40
KINDS = ("posts", "events", "alerts", "cases", "releases", "audit")


def night_on(settings: Settings) -> tuple[App, dict[str, list[dict[str, Any]]]]:
    """Two and a half hours of the drill, then what the desk does with its worst alert."""
    clock = NightClock()
    app = build(settings, clock)
    with app.store.begin(START) as tx:
        claims.seed_library(tx, load_library())
    for hour in range(5):
        play(app, clock, timedelta(minutes=30 * hour), timedelta(minutes=30 * (hour + 1)))
    act(app, clock)
    Relay(app.store, app.bus, clock=clock).run_once()
    found: dict[str, list[dict[str, Any]]] = {}
    for record in export_records(settings, KINDS, None, None):
        found.setdefault(str(record["type"]), []).append(record)
    return app, found


def alerts_told(app: App) -> dict[str, list[dict[str, Any]]]:
    """Messages of ``alerts`` by their key: between keys a topic of two partitions has no order.

    Without ``last_at``, the latest post when the batch ended: the buses give batches of other
    sizes. In the tables, which the exports show, it is the same.
    """
    told: dict[str, list[dict[str, Any]]] = {}
    for message in app.bus.read(ALERTS.name):
        body = json.loads(message.value)["body"]
        body.pop("last_at")
        told.setdefault(message.key, []).append(body)
    return told


def act(app: App, clock: NightClock) -> None:
    a = t.alerts.c
    with app.store.read() as conn:
        worst = (
            conn.execute(
                select(a.fingerprint)
                .where(a.state == AlertState.NEW.value)
                .order_by(a.level.desc(), a.fired_at, a.fingerprint)
            )
            .scalars()
            .first()
        )
    with app.store.begin(clock.now()) as tx:
        alerts.claim_alert(tx, DUTY, worst)
        number = cases.open_case(tx, DUTY, fingerprint=worst, rules=app.rules)
    clock.at += timedelta(minutes=4)
    with app.store.begin(clock.now()) as tx:
        cases.assess_case(tx, LEADER, number, 3, "跨区传播，影响面大")
    with app.store.begin(clock.now()) as tx:
        assignments.assign(tx, DUTY, number, "气象台", "核实并答复")
    clock.at += timedelta(minutes=4)


@pytest.fixture(scope="module")
def servers(
    kafka_address: str, es_url: str, pg_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    name = unique("p")
    with psycopg.connect(pg_url, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}"')
    yield Settings(
        profile="distributed",
        home=tmp_path_factory.mktemp("distributed"),
        kafka_servers=(kafka_address,),
        elastic_urls=(es_url,),
        database_url=f"{pg_url.rpartition('/')[0]}/{name}",
        prefix=name,
        secret_key=KEY,
        vault_key=KEY,
    )
    with psycopg.connect(pg_url, autocommit=True) as conn:
        conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_both_profiles_tell_the_same_night(servers: Settings, tmp_path: Path) -> None:
    one, here = night_on(Settings(home=tmp_path, secret_key=KEY, vault_key=KEY))
    other, there = night_on(servers)
    for kind in KINDS:
        assert [json.dumps(r, sort_keys=True) for r in there.get(kind, [])] == [
            json.dumps(r, sort_keys=True) for r in here.get(kind, [])
        ], kind
    assert len(here["post"]) > 300 and len(here["event"]) > 3 and here["alert"]
    for facet in ("kind", "sentiment", "adcode", "hazard"):
        assert other.index.facets(Query(), facet) == one.index.facets(Query(), facet)
    with one.store.read() as a, other.store.read() as b:
        assert verify_audit(a).ok and verify_audit(b).ok
        assert load_review(a, 1, one.now()) == load_review(b, 1, other.now())
    assert alerts_told(one) == alerts_told(other) != {}
    other.index.forget_everything()  # type: ignore[attr-defined]
    one.close()
    other.close()


def test_the_doctor_finds_nothing_before_the_first_start(
    kafka_address: str, es_url: str, pg_url: str, tmp_path: Path
) -> None:
    name = unique("d")
    lines = {
        "profile": "distributed",
        "kafka_servers": [kafka_address],
        "elastic_urls": [es_url],
        "database_url": f"{pg_url.rpartition('/')[0]}/{name}",
        "prefix": name,
    }
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in lines.items())
    (tmp_path / "tingfeng.toml").write_text(text, "utf-8")
    with psycopg.connect(pg_url, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}"')
        found = {finding.subject: finding for finding in examine(tmp_path)}
        conn.execute(f'DROP DATABASE "{name}"')
    for subject in ("settings", "servers", "model", "claims"):
        assert found[subject].ok, found[subject].text
