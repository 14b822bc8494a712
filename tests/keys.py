"""Certificates for servers of tests, made by ``openssl``."""

from __future__ import annotations

import subprocess
from pathlib import Path

STORE_WORD = "keystore"
_NEW_KEY = ("req", "-newkey", "rsa:2048", "-nodes", "-subj")


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_keys(folder: Path) -> None:
    """``ca.pem``, and ``other.pem`` of an authority that nobody asked. By the first one for
    ``localhost``: ``server.pem`` with ``server.key``, and both as ``server.p12``.
    """
    for name in ("ca", "other"):
        new = (*_NEW_KEY, f"/CN={name}", "-x509", "-days", "2")
        _openssl(folder, *new, "-keyout", f"{name}.key", "-out", f"{name}.pem")
    _openssl(folder, *_NEW_KEY, "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
    _openssl(
        folder, "x509", "-req", "-in", "server.csr", *by, "-extfile", "names", "-out", "server.pem"
    )
    store = ("-passout", f"pass:{STORE_WORD}", "-out", "server.p12")
    _openssl(folder, "pkcs12", "-export", "-in", "server.pem", "-inkey", "server.key", *store)
