"""Which trained model judges: chosen by a person, with the way back (模型启用).

A model that training made lies in the data folder and does nothing until somebody puts it to
work. Every choice is a row that stays; the last one is in force.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from nlp import weights
from nlp.errors import ModelMissing, ModelUnreadable
from pipeline.desk.guard import Act, add, need, record, rows
from pipeline.domain.rights import Actor, require
from pipeline.errors import IllegalTransition, MissingFields, NotFound
from pipeline.store import tables as t
from pipeline.store.sql import Tx

SHIPPED = ""
"""The version of the model that comes with the package."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a model did beside the one in use then. ``champion``: its name; ``rows``: as
    ``nlp.training.challenge.compare_models`` gives them."""

    champion: str
    at: datetime
    rows: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model that could be used. ``version`` as written in it; ``compared``: its last measure
    beside another; ``problem``: why it cannot be used."""

    name: str
    path: Path
    version: str = ""
    trained_on: str = ""
    card: dict[str, Any] | None = None
    compared: Comparison | None = None
    problem: str = ""


def list_models(folder: Path) -> list[ModelFile]:
    """The shipped model first, then those of the data folder, newest name first."""
    found = [_read(SHIPPED, weights.shipped_path())]
    if folder.is_dir():
        found += [_read(path.stem, path) for path in sorted(folder.glob("*.npz"), reverse=True)]
    return found


def _read(name: str, path: Path) -> ModelFile:
    try:
        card = weights.read_card(path)
    except (ModelMissing, ModelUnreadable) as error:
        return ModelFile(name, path, problem=str(error))
    return ModelFile(
        name,
        path,
        str(card["version"]),
        str(card.get("trained_on", "")),
        card,
        None if name == SHIPPED else _comparison(path.with_suffix(".json")),
    )


def keep_comparison(
    folder: Path, name: str, champion: str, rows: Sequence[dict[str, Any]], now: datetime
) -> None:
    """Keep beside a model how it did; nothing is kept beside the shipped one."""
    if name == SHIPPED:
        return
    body = {"champion": champion, "at": now.isoformat(), "rows": list(rows)}
    path = model_path(folder, name).with_suffix(".json")
    path.write_text(json.dumps(body, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _comparison(path: Path) -> Comparison | None:
    """None when it was never made, or cannot be read: it can be made again."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        at = datetime.fromisoformat(body["at"])
        return Comparison(str(body["champion"]), at, tuple(body["rows"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def model_path(folder: Path, name: str) -> Path:
    """Where a model lies. Raises: MissingFields for a name that is no plain name."""
    if name == SHIPPED:
        return weights.shipped_path()
    if not name.replace("-", "").isalnum():
        raise MissingFields({"version": "模型版本号（字母、数字和连字符）"})
    return folder / f"{name}.npz"


def mark_of(folder: Path, name: str) -> tuple[int, int]:
    """Changes when the file is replaced or restored; zeros without a file."""
    try:
        found = model_path(folder, name).stat()
        return found.st_mtime_ns, found.st_size
    except OSError:
        return 0, 0


def in_use(conn: Connection) -> str:
    """Name of the chosen model, ``SHIPPED`` when nobody ever chose."""
    u = t.model_uses.c
    name = conn.execute(select(u.version).order_by(u.id.desc()).limit(1)).scalar()
    return SHIPPED if name is None else str(name)


def card_in_use(conn: Connection, folder: Path) -> dict[str, Any]:
    """The card of the model that judges: the shipped one's where the chosen cannot be read.

    Raises: ModelMissing, ModelUnreadable when not even that is there.
    """
    try:
        return weights.read_card(model_path(folder, in_use(conn)))
    except (ModelMissing, ModelUnreadable):
        return weights.read_card()


def uses(conn: Connection, limit: int = 20) -> list[dict[str, Any]]:
    """Who put which model to work and why, newest first."""
    return rows(conn, select(t.model_uses).order_by(t.model_uses.c.id.desc()).limit(limit))


def use_model(tx: Tx, actor: Actor, folder: Path, name: str, reason: str) -> None:
    """Put a model to work; workers take it up within seconds.

    Raises: NotAllowed, MissingFields, IllegalTransition when it is in use already, NotFound when
    its file is missing or damaged.
    """
    require(actor, "use_model")
    need(reason=(reason, "理由"))
    before = in_use(tx.conn)
    if name == before:
        raise IllegalTransition("这个模型正在使用，不必再启用")
    _write(tx, actor, name, reason, before, _usable(folder, name))


def back(tx: Tx, actor: Actor, folder: Path, reason: str) -> str:
    """Return to the model that was in use before; returns its name.

    Raises: NotAllowed, MissingFields, IllegalTransition when there was none, NotFound when its
    file is missing or damaged.
    """
    require(actor, "use_model")
    need(reason=(reason, "理由"))
    past = uses(tx.conn, 2)
    if not past:
        raise IllegalTransition("一直在用随系统发布的模型，没有可退回的")
    name = str(past[1]["version"]) if len(past) > 1 else SHIPPED
    _write(tx, actor, name, reason, str(past[0]["version"]), _usable(folder, name))
    return name


def _usable(folder: Path, name: str) -> str:
    """The version in the file, which is read whole: what is put to work must work."""
    try:
        return weights.load(model_path(folder, name)).version
    except (ModelMissing, ModelUnreadable) as error:
        raise NotFound(f"模型 {name or '随系统发布'} 的文件缺失或损坏，请另选一个模型") from error


def _write(tx: Tx, actor: Actor, name: str, reason: str, before: str, version: str) -> None:
    add(tx, t.model_uses, version=name, reason=reason.strip(), by=actor.name, at=tx.now)
    line = f"{actor.name}启用判读模型 {version}：{reason.strip()}"
    record(
        tx,
        actor,
        Act(
            "use_model",
            "model_used",
            "model",
            version,
            line,
            before={"model": before or "shipped"},
            after={"model": name or "shipped"},
            data={"version": version, "reason": reason.strip()},
        ),
    )


def last_choice(conn: Connection) -> tuple[int, datetime | None]:
    """Number and time of the last choice; changes when another model was chosen."""
    u = t.model_uses.c
    row = conn.execute(select(u.id, u.at).order_by(u.id.desc()).limit(1)).first()
    return (0, None) if row is None else (int(row.id), row.at)
