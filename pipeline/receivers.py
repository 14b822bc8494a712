"""Who is told by which channel: ``channels.toml``, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.channels import (
    LIMITS,
    AppriseChannel,
    Channel,
    ConsoleChannel,
    FileChannel,
    is_apprise_address,
    scheme_of,
)
from pipeline.errors import SettingsError
from pipeline.toml_file import read_toml

EVERYONE = "*"
DESK = "值班台"


@dataclass(frozen=True, slots=True)
class Receiver:
    """One channel and who is told by it. ``hears``: offices, roles, people, or ``*``."""

    name: str
    channel: Channel
    hears: frozenset[str]

    def listens_to(self, who: str) -> bool:
        """Whether what is meant for ``who`` goes out by this channel."""
        return who in self.hears or EVERYONE in self.hears


@dataclass(frozen=True, slots=True)
class Receivers:
    """All channels. ``digest_over``: more notices than this at once become one."""

    receivers: tuple[Receiver, ...]
    digest_over: int = 10

    def of(self, who: str) -> list[Receiver]:
        """The channels for somebody: never none, the first is the way out for all."""
        return [r for r in self.receivers if r.listens_to(who)] or [self.receivers[0]]

    def named(self, name: str) -> Receiver | None:
        """A channel by its name; None when it was taken out of the file."""
        return next((r for r in self.receivers if r.name == name), None)


def load_receivers(path: Path, extra: Sequence[str] = (), *, home: Path) -> Receivers:
    """Channels of ``channels.toml`` and of the setting ``receivers`` (told what the desk hears).

    Raises: SettingsError naming the receiver and what is wrong, never its address.
    """
    data = read_toml(path)
    unknown = set(data) - {"receiver", "digest_over"}
    if unknown:
        raise SettingsError(f"{path.name}: unknown key {', '.join(sorted(unknown))}")
    over = data.get("digest_over", 10)
    if not isinstance(over, int) or isinstance(over, bool) or over < 1:
        raise SettingsError(f"{path.name}: digest_over must be a whole number above 0")
    made = [_receiver(path.name, n, row, home) for n, row in enumerate(data.get("receiver", []), 1)]
    for n, address in enumerate(extra, start=1):
        row = {"name": f"设置{n}", "kind": "apprise", "address": address, "hears": [DESK]}
        made.append(_receiver("setting receivers", n, row, home))
    names = [r.name for r in made]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"{path.name}: two receivers are called {', '.join(twice)}")
    if not any(EVERYONE in r.hears for r in made):
        # nothing may be said into the void: what no channel hears is at least written down
        made.insert(
            0, Receiver("通知记录", FileChannel(home / "notices.log"), frozenset({EVERYONE}))
        )
    made.sort(key=lambda r: EVERYONE not in r.hears)
    return Receivers(tuple(made), over)


_KEYS = frozenset({"name", "kind", "address", "hears", "limit"})


def _receiver(file: str, number: int, row: dict[str, Any], home: Path) -> Receiver:
    name = row.get("name", "")
    where = f"{file}: receiver {number} ({name or 'no name'})"
    unknown = set(row) - _KEYS
    if unknown:
        raise SettingsError(f"{where} has unknown keys {', '.join(sorted(unknown))}")
    if not isinstance(name, str) or not 1 <= len(name) <= 16:
        raise SettingsError(f"{where}: name must have 1 to 16 characters")
    hears = row.get("hears", [])
    if not isinstance(hears, list) or not hears or not all(isinstance(h, str) for h in hears):
        raise SettingsError(f'{where}: hears must be a list of names, as ["值班台"]')
    address, kind, limit = row.get("address", ""), row.get("kind", ""), row.get("limit", 0)
    if not isinstance(limit, int) or (limit and limit < 200):
        raise SettingsError(f"{where}: limit must be a number of bytes, 200 or more")
    channel: Channel
    if kind == "file":
        channel = FileChannel(home / (address or "notices.log"), limit)
    elif kind == "console":
        channel = ConsoleChannel(limit)
    elif kind == "apprise":
        if not is_apprise_address(address):
            raise SettingsError(
                f"{where}: the address is not one that apprise knows "
                f"(it begins with {scheme_of(str(address))[:16]!r})"
            )
        channel = AppriseChannel(address, limit or LIMITS.get(scheme_of(address), 0))
    else:
        raise SettingsError(f"{where}: kind must be file, console or apprise")
    return Receiver(name, channel, frozenset(hears))
