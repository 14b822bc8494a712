"""Elasticsearch and PostgreSQL by an encrypted line: whose certificates are taken.

Kafka's are in ``test_kafka_security.py``.
"""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import EngineDown, StoreBusy
from pipeline.index.base import Query
from pipeline.store.sql import Store, postgres_url
from tests.engines import OwnEngine, unique
from tests.keys import make_keys
from tests.slow_line import slow_line

psycopg = pytest.importorskip("psycopg")
pytest.importorskip("elasticsearch")
from pipeline.index.elastic import ElasticIndex  # noqa: E402

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    make_keys(folder)
    return folder


@pytest.fixture(scope="module")
def port(es_url: str, keys: Path) -> Iterator[int]:
    """The shared server behind TLS."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(keys / "server.pem", keys / "server.key")
    with slow_line(int(es_url.rpartition(":")[2]), tls) as line:
        yield line.port


def test_the_authority_of_the_settings_is_trusted(port: int, keys: Path) -> None:
    ca = str(keys / "ca.pem")
    index = ElasticIndex([f"https://localhost:{port}"], prefix=unique(), ca_file=ca)
    assert index.count(Query()) == 0
    index.forget_everything()
    index.close()


@pytest.mark.parametrize(
    ("host", "authority"), [("localhost", "other.pem"), ("localhost", ""), ("127.0.0.1", "ca.pem")]
)
def test_another_authority_or_name_is_one_line(
    port: int, keys: Path, host: str, authority: str
) -> None:
    ca = str(keys / authority) if authority else ""
    with pytest.raises(EngineDown, match="check tls_ca_file and elastic_urls"):
        ElasticIndex([f"https://{host}:{port}"], prefix=unique(), ca_file=ca)


@pytest.fixture(scope="module")
def database(own_engine: OwnEngine, keys: Path) -> str:
    """Address of a PostgreSQL that speaks TLS, as ``localhost``."""
    server = own_engine("pg")
    data = server.folder() / "data"
    for name, right in (("server.pem", 0o644), ("server.key", 0o600)):
        shutil.copy(keys / name, data / name)
        (data / name).chmod(right)
        shutil.chown(data / name, data.owner(), data.group())
    with psycopg.connect(server.address, autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET ssl_cert_file = 'server.pem'")
        conn.execute("ALTER SYSTEM SET ssl = on")
        conn.execute("SELECT pg_reload_conf()")
    return server.address.replace("127.0.0.1", "localhost")


def test_postgres_checks_by_its_address(database: str, keys: Path) -> None:
    def is_encrypted(authority: str) -> bool:
        address = f"{database}?sslmode=verify-full&sslrootcert={keys / authority}"
        store = Store(postgres_url(address), busy_s=5.0)
        try:
            with store.read() as conn:
                asked = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
                return bool(conn.exec_driver_sql(asked).scalar())
        finally:
            store.close()

    assert is_encrypted("ca.pem")
    with pytest.raises(StoreBusy, match=r"^postgres: .*certificate verify failed"):
        is_encrypted("other.pem")
