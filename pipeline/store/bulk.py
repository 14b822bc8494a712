"""Many rows at once: one statement and one trip on PostgreSQL, one prepared statement on SQLite.

For tables that machines write thousands of rows a second into. SQLAlchemy's own lists of
parameters bind every row by itself, which costs both sides more than the writing; here the rows
travel as one array per column. What is written is the same (tests/contract/test_bulk.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Float, Integer, LargeBinary, Table
from sqlalchemy.sql.schema import ScalarElementColumnDefault
from sqlalchemy.types import JSON

from pipeline.store.tables import Utc

Row = Mapping[str, Any]
Bind = Callable[[Any], Any]

_POSTGRES_TYPES: tuple[tuple[type, str], ...] = (
    (Utc, "timestamptz"),
    (Boolean, "boolean"),  # before Integer: looked for in this order
    (Integer, "bigint"),
    (Float, "float8"),
    (LargeBinary, "bytea"),
    (JSON, "json"),
)


def insert_many(conn: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows that all name the same columns; a column's plain default fills what is not
    named. Raises: as the driver does, for a key that is there already."""
    if not rows:
        return
    defaults = _defaults(table, tuple(rows[0]))
    if defaults:
        rows = [{**row, **defaults} for row in rows]
    columns = [table.c[name] for name in rows[0]]
    _run(conn, _insert(table.name, columns, conn.dialect.name), columns, rows)


def update_many(conn: Connection, table: Table, keys: Sequence[str], rows: Sequence[Row]) -> None:
    """Set the columns that the rows name besides ``keys``, each in the row of those keys.

    No two rows may have the same keys: which of them stayed would be left to the database.
    """
    if not rows:
        return
    columns = [table.c[name] for name in (*(n for n in rows[0] if n not in keys), *keys)]
    _run(conn, _update(table.name, columns, len(keys), conn.dialect.name), columns, rows)


def _insert(table: str, columns: Sequence[Column[Any]], dialect: str) -> str:
    names = _listed(columns)
    if dialect == "postgresql":
        return f"INSERT INTO {table} ({names}) SELECT * FROM {_arrays(columns)}"  # noqa: S608
    return f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608


def _update(table: str, columns: Sequence[Column[Any]], keys: int, dialect: str) -> str:
    """``keys``: so many of the last columns find the row."""
    new = "n.{}" if dialect == "postgresql" else "?"
    pairs = [f'"{column.name}" = ' + new.format(f'"{column.name}"') for column in columns]
    sets = ", ".join(pairs[:-keys])
    if dialect == "postgresql":
        same = " AND ".join(f"o.{pair}" for pair in pairs[-keys:])
        news = f"{_arrays(columns)} AS n({_listed(columns)})"
        return f"UPDATE {table} AS o SET {sets} FROM {news} WHERE {same}"  # noqa: S608
    return f"UPDATE {table} SET {sets} WHERE {' AND '.join(pairs[-keys:])}"  # noqa: S608


def _listed(columns: Sequence[Column[Any]]) -> str:
    return ", ".join(f'"{column.name}"' for column in columns)


def _run(
    conn: Connection, statement: str, columns: Sequence[Column[Any]], rows: Sequence[Row]
) -> None:
    values = _columns(conn, columns, rows)
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(statement, tuple(values))
    else:
        conn.exec_driver_sql(statement, list(zip(*values, strict=True)))


def _columns(
    conn: Connection, columns: Sequence[Column[Any]], rows: Sequence[Row]
) -> list[list[Any]]:
    """The rows turned by a right angle, in the driver's types."""
    values = []
    for column in columns:
        name, bind = column.name, _bind(column, conn.dialect.name)
        given = [row[name] for row in rows]
        values.append(given if bind is None else [None if v is None else bind(v) for v in given])
    return values


def _arrays(columns: Sequence[Column[Any]]) -> str:
    return f"unnest({', '.join(f'%s::{_postgres_type(column)}[]' for column in columns)})"


def _postgres_type(column: Column[Any]) -> str:
    return next((sql for kind, sql in _POSTGRES_TYPES if isinstance(column.type, kind)), "text")


@cache
def _defaults(table: Table, given: tuple[str, ...]) -> dict[str, Any]:
    return {
        column.name: column.default.arg
        for column in table.columns
        if column.name not in given and isinstance(column.default, ScalarElementColumnDefault)
    }


def _bind(column: Column[Any], dialect: str) -> Bind | None:
    """How one value goes to the driver, as SQLAlchemy sends it; None: as it is."""
    if isinstance(column.type, JSON):
        return partial(json.dumps, ensure_ascii=False)
    if isinstance(column.type, Utc):
        return _sqlite_time if dialect == "sqlite" else _time
    return None


def _time(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("a time without zone; pass an aware datetime")
    return at


def _sqlite_time(at: datetime) -> str:
    return _time(at).astimezone(UTC).isoformat(" ", "microseconds")[:26]
