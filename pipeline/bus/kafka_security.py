"""TLS and accounts towards the brokers, and why a broker turned us away.

Three faults of kafka-python 3.0.12 are seen to here. It tries again for ever what no second try can
mend, and in the end says only that time is up. It drops an answer that arrives together with the
end of the connection, as a refusal does. And where a server accepts a connection and then is silent
it waits for the TLS handshake without any limit.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kafka import errors as kafka_errors  # type: ignore[import-untyped]
from kafka.net.inet import create_connection  # type: ignore[import-untyped]
from kafka.net.transport import KafkaSSLTransport  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class Security:
    """``protocol``: plaintext, ssl, sasl_plaintext or sasl_ssl. ``mechanism``: as Kafka names it.

    ``ca_file``: PEM file of the authority that signed the brokers' certificates; empty = those
    the system trusts.
    """

    protocol: str = "plaintext"
    user: str = ""
    password: str = field(default="", repr=False)
    mechanism: str = "SCRAM-SHA-512"
    ca_file: str = ""

    def options(self) -> dict[str, object]:
        """The kafka package's options."""
        found: dict[str, object] = {"security_protocol": self.protocol.upper()}
        if self.protocol.startswith("sasl"):
            found |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return found

    def context(self) -> ssl.SSLContext | None:
        """Raises: OSError when ``ca_file`` holds no certificate."""
        if not self.protocol.endswith("ssl"):
            return None
        return ssl.create_default_context(cafile=self.ca_file or None)

    def refusal(self, error: Exception | None) -> str:
        """What to say when the last attempt to connect ended so; empty when it says nothing."""
        cause = error.__cause__ if error is not None else None
        if isinstance(error, kafka_errors.SaslAuthenticationFailedError):
            return "refuses the account; check kafka_user, kafka_password and kafka_mechanism"
        if isinstance(error, kafka_errors.UnsupportedSaslMechanismError):
            return f"does not offer {self.mechanism}; write another kafka_mechanism"
        if isinstance(error, kafka_errors.IllegalSaslStateError):
            return "wants no account on this port; check kafka_servers and kafka_security"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"shows a certificate that we do not trust ({cause.verify_message}); check"
                " tls_ca_file, and that kafka_servers has the names that stand in the certificate"
            )
        if isinstance(cause, ssl.SSLError):
            return "does not speak TLS on this port; check kafka_servers and kafka_security"
        return ""


def watch(
    manager: Any,
    context: ssl.SSLContext | None,
    patience_s: float,
    told: Callable[[Exception | None], None],
) -> None:
    """``manager``: the package's connections. ``told`` gets what each attempt to connect came to:
    an error, or None. With TLS a handshake may take ``patience_s``.
    """
    connect, plain = manager._connect, manager._build_transport

    async def connecting(node: Any, connection: Any, **options: Any) -> None:
        connection.init_future.add_callback(lambda _: told(None))
        connection.init_future.add_errback(told)
        await connect(node, connection, **options)

    async def build(node: Any, timeout_at: float | None = None) -> Any:
        if context is None:
            transport = await plain(node, timeout_at=timeout_at)
        else:
            net, options = manager._net, manager.config["socket_options"]
            sock = await create_connection(
                net, node.host, node.port, options, timeout_at=timeout_at
            )
            transport = KafkaSSLTransport(net, sock, host=node.host, ssl_context=context)
            await _shake_hands(transport, time.monotonic() + patience_s)
        _hear_out(transport)
        return transport

    manager._connect, manager._build_transport = connecting, build


async def _shake_hands(transport: Any, until: float) -> None:
    net, sock = transport._net, transport._sock
    try:
        while True:
            try:
                sock.do_handshake()
                return
            except ssl.SSLWantReadError:
                await net.wait_read(sock, until)
            except ssl.SSLWantWriteError:
                await net.wait_write(sock, until)
    except Exception as error:
        sock.close()
        raise kafka_errors.KafkaConnectionError(f"TLS handshake: {error}") from error


def _hear_out(transport: Any) -> None:
    """First what was received, then, at the next reading, that it was the last."""
    receive = transport._sock_recv

    def received() -> tuple[bytes, Exception | None]:
        data, error = receive()
        return data, None if data else error

    transport._sock_recv = received
