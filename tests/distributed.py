"""A product of its own on the three servers, for tests that kill or freeze them."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from scripts.engines import Engine
from tests.engines import OwnEngine

Servers = dict[str, Engine]


def three_servers(own_engine: OwnEngine) -> Servers:
    """``pg``, ``kafka`` and ``es``, started; nobody else uses them."""
    return {
        "pg": own_engine("pg"),
        "kafka": own_engine("kafka", heap="256m"),
        "es": own_engine("es", heap="256m"),
    }


def settings_lines(servers: Servers, name: str, **more: Any) -> str:
    """Lines of tingfeng.toml for a product called ``name``; makes its database."""
    address = servers["pg"].address
    with psycopg.connect(address, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}"')
    values = {
        "profile": "distributed",
        "kafka_servers": servers["kafka"].address.split(","),
        "elastic_urls": servers["es"].address.split(","),
        "database_url": f"{address.rpartition('/')[0]}/{name}",
        "prefix": name,
        **more,
    }
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items())
