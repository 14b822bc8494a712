"""What a database's failure means, and what to say about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from pipeline.errors import StoreBusy, StoreRefused, TingfengError, UnstorableText
from pipeline.store.door import refused

AWAY = "数据库暂时不可用，请稍后重试"
STUCK = "数据库迟迟没有完成操作，服务器磁盘可能无响应，请稍后重试"
UNSURE = (
    "数据库迟迟没有完成操作，服务器磁盘可能无响应；刚才的操作可能已经保存，恢复后请先查看再办理"
)
LATE = "the server does not finish its work; look at its disk"


@contextmanager
def engine_errors(url: str) -> Iterator[None]:
    """An engine's failures as ours; our own mistakes as they are. ``url``: of the database."""
    try:
        yield
    except PoolTimeout as error:
        raise StoreBusy(AWAY, name=name_of(url), detail="too many wait for a connection") from error
    except StatementError as error:
        if isinstance(error.orig, TingfengError):
            raise error.orig from None
        if not isinstance(error, DBAPIError):
            raise
        said = _translate(error, name_of(url))
        if said is None:
            raise  # our own mistake, not the engine's
        raise said from error


def name_of(url: str) -> str:
    """The database's name alone: an address may hold a password."""
    return Path(make_url(url).database or "").name


# what PostgreSQL says when it does not let us in, in English and in Chinese
_NOT_OURS = ("password authentication", "no pg_hba.conf entry", "no password", "认证失败")
_ODD_TEXT = ("22021", "22P05")
_NO_DATABASE = re.compile('(database|数据库) ".*" (does not exist|不存在)')


def _translate(error: DBAPIError, name: str) -> TingfengError | None:
    """What the engine said, and what to do about it. ``name``: of the database.

    None for what is no trouble of the engine's.
    """
    text = str(error.orig)
    first = _first_line(text)
    state = getattr(error.orig, "sqlstate", None)
    if state == "22001":
        return UnstorableText(
            "有一项内容太长，请缩短后重试", "a text is too long; nothing was kept, shorten it"
        )
    if state in _ODD_TEXT:  # what a driver was given past the door
        return refused()
    if state == "42501":
        return StoreRefused(
            "数据库账号没有建表或写入的权限，请数据库管理员授权",
            name=name,
            detail=f"{first}; let the account own the database",
        )
    if isinstance(error, (IntegrityError, ProgrammingError, DataError)):
        return None
    if any(words in text for words in _NOT_OURS):
        return StoreRefused("账号或密码不对，请检查 database_url", name=name, detail=first)
    if _NO_DATABASE.search(text):
        return StoreRefused("没有这个数据库，请先建库或检查 database_url", name=name, detail=first)
    if text == LATE:
        return StoreBusy(STUCK, name=name, detail=LATE)
    if "No space left" in text or "full" in text:
        return StoreBusy(
            "磁盘已满：请清理磁盘空间，系统会自动重试", name=name, detail="the disk is full"
        )
    if "readonly" in text or "unable to open" in text:
        return StoreBusy(
            "无法写入：请检查数据目录的写权限", name=name, detail=f"cannot be written: {text}"
        )
    if "malformed" in text or "not a database" in text:
        return StoreBusy(
            "数据库已损坏：请停止系统、恢复备份",
            name=name,
            detail=f"damaged: {text}; stop and restore the backup, then run: tingfeng doctor",
        )
    return StoreBusy(AWAY, name=name, detail=first)


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""


def was_cut_off(error: StoreBusy) -> bool:
    """Whether it was we who hung up."""
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and isinstance(cause.orig, TimeoutError)
