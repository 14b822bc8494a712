"""A real broker with TLS and accounts: who gets in, and what the others are told, and when.

One broker listens four times: the test's own entrance without either, TLS alone, TLS with an
account, and an account without TLS.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.bus.base import DeadLetter, Message
from pipeline.commands import doctor
from pipeline.errors import EngineDown
from pipeline.settings import load_settings
from tests.contract.kafka_rig import LIMIT_S, RAW, opened, receive, records
from tests.engines import OwnEngine, free_port, unique
from tests.keys import STORE_WORD, make_keys
from tests.waiting import until

kafka = pytest.importorskip("kafka")
from kafka.admin import (  # noqa: E402
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
    UserScramCredentialUpsertion,
)

from pipeline.bus.kafka_security import Security  # noqa: E402

pytestmark = pytest.mark.engines

WORD, WRONG = "right-4711", "wrong-0815"
TOPIC, GROUP = ResourceType.TOPIC, ResourceType.GROUP
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")


class Entrances:
    """Addresses of one broker, and the certificates of the authority that vouches for it."""

    def __init__(self, port: int, ca: Path, stranger: Path) -> None:
        self.tls_account = f"localhost:{port}"
        self.tls = f"localhost:{port + 2}"
        self.account = f"localhost:{port + 3}"
        self.plain = f"localhost:{port + 4}"
        self.ca, self.stranger = str(ca), str(stranger)

    @property
    def right(self) -> Security:
        return Security("sasl_ssl", user="office", password=WORD, ca_file=self.ca)


@pytest.fixture(scope="module")
def entrances(own_engine: OwnEngine, tmp_path_factory: pytest.TempPathFactory) -> Entrances:
    keys, port = tmp_path_factory.mktemp("keys"), free_port()
    make_keys(keys)
    names = {"TLSACCOUNT": port, "CONTROLLER": port + 1, "TLS": port + 2, "ACCOUNT": port + 3}
    names["PLAIN"] = port + 4
    listeners = ",".join(f"{name}://localhost:{at}" for name, at in names.items())
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    logins = {
        f"listener.name.{name}.{mechanism.lower()}.sasl.jaas.config": (
            f'{plain} user_office="{WORD}" user_reader="{WORD}";' if mechanism == "PLAIN" else scram
        )
        for name in ("tlsaccount", "account")
        for mechanism in MECHANISMS
    }
    own_engine(
        "kafka",
        port=port,
        extra={
            "listeners": listeners,
            "advertised.listeners": listeners,
            "listener.security.protocol.map": (
                "TLSACCOUNT:SASL_SSL,CONTROLLER:PLAINTEXT,TLS:SSL,ACCOUNT:SASL_PLAINTEXT,"
                "PLAIN:PLAINTEXT"
            ),
            "inter.broker.listener.name": "PLAIN",
            "sasl.enabled.mechanisms": ",".join(MECHANISMS),
            "listener.name.account.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "ssl.keystore.location": keys / "server.p12",
            "ssl.keystore.type": "PKCS12",
            "ssl.keystore.password": STORE_WORD,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",  # who has no account here
            **logins,
        },
    )
    found = Entrances(port, keys / "ca.pem", keys / "other.pem")
    set_word(found, WORD)
    grant(found, "office", {TOPIC: "CREATE DESCRIBE READ WRITE DELETE", GROUP: "DESCRIBE READ"})
    grant(found, "reader", {TOPIC: "DESCRIBE READ", GROUP: "DESCRIBE READ"})
    return found


def grant(entrances: Entrances, user: str, rights: dict[ResourceType, str]) -> None:
    """What docs/distributed.md asks for, on all names that tests make."""
    acls = [
        ACL(
            f"User:{user}",
            "*",
            ACLOperation[operation],
            ACLPermissionType.ALLOW,
            ResourcePattern(kind, "t-", ACLResourcePatternType.PREFIXED),
        )
        for kind, operations in rights.items()
        for operation in operations.split()
    ]
    admin = kafka.KafkaAdminClient(bootstrap_servers=entrances.plain)
    assert not admin.create_acls(acls)["failed"]
    admin.close()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_an_account_over_tls_gets_in(entrances: Entrances, mechanism: str) -> None:
    with opened(entrances.tls_account) as make:
        bus = make(security=replace(entrances.right, mechanism=mechanism))
        bus.publish(RAW, records(3))
        assert len(receive(bus, "g", 3)) == 3
        assert len(list(bus.read(RAW))) == 3
        assert bus.lag("g", [RAW]) == 3


def test_the_documented_rights_are_enough(entrances: Entrances) -> None:
    with opened(entrances.tls_account) as make:
        bus = make(security=entrances.right)
        bus.publish(RAW, records(3))
        worker = bus.consumer("g", [RAW])
        messages: list[Message] = []
        assert until(lambda: messages.extend(worker.poll(10, 0.2)) or len(messages) == 3)
        worker.commit(messages)
        assert worker.lag() == bus.lag("g", [RAW]) == 0
        now = datetime.now(UTC)
        bus.bury(DeadLetter(0, RAW, 0, 0, "k", b"1", "annotate", "never", 1, now))
        (letter,) = bus.dead()
        bus.retry(letter.id, now)
        bus.prune(now + timedelta(days=31))
        assert bus.dead(include_handled=True) == []
        reader = replace(entrances.right, user="reader", mechanism="PLAIN")
        other = make(security=reader, answer_s=2.0)
        assert len(receive(other, "office", 4)) == 4
        with pytest.raises(EngineDown, match=r"refuses this account .* rights on our topics"):
            other.publish(RAW, records(1))


def test_tls_alone_and_an_account_alone_get_in(entrances: Entrances) -> None:
    for address, security in (
        (entrances.tls, Security("ssl", ca_file=entrances.ca)),
        (entrances.account, Security("sasl_plaintext", user="office", password=WORD)),
    ):
        with opened(address) as make:
            bus = make(security=security)
            bus.publish(RAW, records(3))
            assert len(receive(bus, "g", 3)) == 3


Wrong = tuple[str, Callable[[Entrances], Security], str]

WRONG_WAYS: dict[str, Wrong] = {
    "password": (
        "tls_account",
        lambda e: replace(e.right, password=WRONG),
        "refuses the account; check kafka_user, kafka_password and kafka_mechanism",
    ),
    "plain password": (
        "tls_account",
        lambda e: replace(e.right, password=WRONG, mechanism="PLAIN"),
        "refuses the account",
    ),
    "authority": (
        "tls_account",
        lambda e: replace(e.right, ca_file=e.stranger),
        r"a certificate that we do not trust \(.+\); check tls_ca_file",
    ),
    "authority of the system": (
        "tls",
        lambda _: Security("ssl"),
        r"a certificate that we do not trust \(.+\); check tls_ca_file",
    ),
    "mechanism": (
        "account",
        lambda e: replace(e.right, protocol="sasl_plaintext", mechanism="PLAIN"),
        "does not offer PLAIN; write another kafka_mechanism",
    ),
    "no TLS there": (
        "plain",
        lambda e: Security("ssl", ca_file=e.ca),
        "does not speak TLS on this port; check kafka_servers and kafka_security",
    ),
    "no account there": (
        "plain",
        lambda e: replace(e.right, protocol="sasl_plaintext"),
        "wants no account on this port",
    ),
}


@pytest.mark.parametrize("way", WRONG_WAYS)
def test_who_is_turned_away_reads_why_in_one_line(
    entrances: Entrances, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    address, security, line = WRONG_WAYS[way]
    with caplog.at_level(logging.DEBUG), opened(getattr(entrances, address)) as make:
        bus = make(security=security(entrances), answer_s=1.0)
        began = time.monotonic()
        with pytest.raises(EngineDown, match=line) as caught:
            bus.publish(RAW, records(1))
        assert time.monotonic() - began < 4
        assert "\n" not in str(caught.value)
        assert WRONG not in str(caught.value)
    assert WRONG not in caplog.text
    assert WRONG not in repr(security(entrances))


def test_a_certificate_of_another_name_is_not_taken(entrances: Entrances) -> None:
    with opened(entrances.tls.replace("localhost", "127.0.0.1")) as make:
        bus = make(security=Security("ssl", ca_file=entrances.ca), answer_s=1.0)
        with pytest.raises(EngineDown, match="the names that stand in the certificate"):
            bus.publish(RAW, records(1))


def test_an_account_that_is_taken_away_is_said_and_given_back_works(entrances: Entrances) -> None:
    """An open connection lives on; the next one is refused, and says so instead of hanging."""
    with opened(entrances.tls_account) as make:
        bus = make(security=entrances.right, answer_s=1.0)
        bus.publish(RAW, records(3))
        set_word(entrances, WRONG)
        try:
            with pytest.raises(EngineDown, match="refuses the account"):
                make(security=entrances.right, answer_s=1.0).lag("g", [RAW])
        finally:
            set_word(entrances, WORD)
        assert until(lambda: bus.lag("g", [RAW]) == 3, LIMIT_S)


def set_word(entrances: Entrances, word: str) -> None:
    admin = kafka.KafkaAdminClient(bootstrap_servers=entrances.plain)
    for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256"):  # one at a time, or both are refused
        new = UserScramCredentialUpsertion("office", mechanism, word)
        assert admin.alter_user_scram_credentials([new]) == {"office": None}
    admin.close()


@pytest.fixture
def silent() -> Iterator[str]:
    """An address where somebody listens and never answers a handshake."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_silent_handshake_has_an_end(silent: str) -> None:
    """The kafka package itself waits for ever."""
    with opened(silent) as make:
        bus = make(security=Security("ssl"), answer_s=0.6)
        for attempt in (
            lambda: bus.publish(RAW, records(1)),
            lambda: bus.consumer("g", [RAW]),
            lambda: bus.lag("g", [RAW]),
        ):
            began = time.monotonic()
            with pytest.raises(EngineDown, match="does not answer"):
                attempt()
            assert time.monotonic() - began < 5


def test_the_doctor_asks_with_the_account_of_the_settings(
    entrances: Entrances, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        'profile = "distributed"',
        f'kafka_servers = ["{entrances.tls_account}"]',
        'kafka_security = "sasl_ssl"',
        'kafka_user = "office"',
        f'tls_ca_file = "{entrances.ca}"',
        'elastic_urls = ["http://127.0.0.1:1"]',
        'database_url = "postgresql://app:x@127.0.0.1:1/none"',
        f'prefix = "{unique()}"',
    ]
    (tmp_path / "tingfeng.toml").write_text("\n".join(lines))
    monkeypatch.setenv("TINGFENG_KAFKA_PASSWORD", WORD)
    said = doctor._servers(load_settings(tmp_path)) or ""
    assert "elastic_urls" in said
    assert "kafka_servers" not in said
