"""Claims somebody has looked into: the starting library and files of the same form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nlp.errors import ClaimFileError
from nlp.lexicon import read_lines

VERDICTS = ("属实", "部分属实", "失实", "尚待核实", "无法核实")


@dataclass(frozen=True, slots=True)
class KnownClaim:
    """A claim somebody has looked into. ``verdict`` is one of ``VERDICTS``; ``place`` and
    ``adcode`` say where it is about, ``date`` when it was debunked (ISO, may be cut short).
    ``suggest_only``: never join by itself, because a true event with the same figures exists."""

    id: str
    claim: str
    verdict: str = "尚待核实"
    correction: str = ""
    hazard: str = ""
    place: str = ""
    adcode: str = ""
    date: str = ""
    source_name: str = ""
    source_url: str = ""
    active: bool = True
    suggest_only: bool = False


def load_library() -> list[KnownClaim]:
    """The starting library: debunked weather rumours with their sources, in our own words."""
    return [_claim(json.loads(line)) for line in read_lines("rumours.jsonl")]


def read_claims(path: str | Path) -> list[KnownClaim]:
    """Claims of a JSON Lines file: ``{"id", "claim", "verdict", "place", "hazard"}`` and any other
    field of ``KnownClaim``; fields we do not know are passed over.

    Raises ClaimFileError, naming file and line, for a line that is no such object.
    """
    found: list[KnownClaim] = []
    with Path(path).open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                found.append(_claim(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ClaimFileError(f"{path}, line {number}: {error}") from error
    return found


DOUBTFUL_HOSTS = frozenset(
    (
        "9000bbs.cn", "hhhyxk.com.cn", "masterdomainnames.com", "aairteam.com", "fymate.com",
        "gameodin.com", "eefung.com", "comemg.com", "shggw.com", "ds779.com.cn", "mtoou.info",
        "sf024.com", "fromgeek.com", "yc00.com", "newton.com.tw",
    )
)  # fmt: skip
"""Mirrors of official pages and copies of unknown hand: never shown as a source."""


def shown_link(url: str) -> str:
    """The link of a source as it may be shown; empty for none, for a doubtful host or scheme."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        return ""
    labels = host.split(".")
    if any(".".join(labels[n:]) in DOUBTFUL_HOSTS for n in range(len(labels))):
        return ""
    return url


def _claim(row: Mapping[str, Any]) -> KnownClaim:
    if not str(row["claim"]).strip():
        raise ValueError("the field claim is empty")
    verdict = str(row.get("verdict") or "尚待核实")
    texts = {
        name: str(row.get(name) or "")
        for name in (
            "correction", "hazard", "place", "adcode", "date", "source_name", "source_url",
        )
    }  # fmt: skip
    return KnownClaim(
        str(row["id"]),
        str(row["claim"]),
        verdict,
        active=row.get("active", True) is not False,
        suggest_only=row.get("suggest_only") is True,
        **texts,
    )
