"""What may enter a database: text without NUL and without halves of characters, on both engines.

SQLite would keep a NUL and cut the text at it in some of its functions, PostgreSQL refuses it;
neither can keep half of a surrogate pair. Posts are cleaned before they get here; what a person
typed or a file brought is refused, before anything of it is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Engine, event

from pipeline.errors import UnstorableText

_ODD = re.compile("[\x00\ud800-\udfff]")
_ODD_IN_JSON = re.compile(r"(?<!\\)(?:\\\\)*\\u0000|[\ud800-\udfff]")


def guard(engine: Engine) -> None:
    """Let every statement's parameters be looked at. They then raise UnstorableText."""

    @event.listens_for(engine, "before_cursor_execute")
    def _look(_conn: Any, _cursor: Any, _sql: Any, given: Any, _context: Any, many: bool) -> None:
        for row in given if many else (given,):
            _check(row.values() if isinstance(row, Mapping) else row or ())


def _check(values: Iterable[Any]) -> None:
    for value in values:
        if isinstance(value, str):
            if _ODD.search(value):
                raise refused()
        elif isinstance(value, list):  # a column of many rows
            _check(value)


def to_json(value: Any) -> str:
    """What a JSON column keeps. Raises: UnstorableText."""
    text = json.dumps(value, ensure_ascii=False)
    if _ODD_IN_JSON.search(text):
        raise refused()
    return text


def refused() -> UnstorableText:
    """What is said of such a text."""
    return UnstorableText(
        "内容里有无法保存的字符（空字符或残缺的字符），请删去后重试；多半是从别处粘贴时带来的",
        "a text holds NUL or half of a character; nothing was kept, remove it and try again",
    )
