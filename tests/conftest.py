"""Fixtures for every suite."""

from tests.engines import es_url, kafka_address, own_engine, pg_url

__all__ = ["es_url", "kafka_address", "own_engine", "pg_url"]
