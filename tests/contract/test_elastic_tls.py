"""Elasticsearch by an encrypted line: whose certificates are taken."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import EngineDown
from pipeline.index.base import Query
from tests.engines import unique
from tests.keys import make_keys
from tests.slow_line import slow_line

pytest.importorskip("elasticsearch")
from pipeline.index.elastic import ElasticIndex

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
