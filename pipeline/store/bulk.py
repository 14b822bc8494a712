"""Many rows at once, for tables that machines write thousands of rows a second into.

SQLAlchemy binds every value of every row by itself, and PostgreSQL executes every row by itself.
Here new rows go to PostgreSQL by binary COPY and changed ones as one JSON text that it joins with
the table; on SQLite both are one prepared statement. What is written is the same
(tests/contract/test_bulk.py); triggers, keys and constraints hold as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Boolean, Column, Connection, Float, Integer, LargeBinary, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.schema import ScalarElementColumnDefault
from sqlalchemy.types import JSON

from pipeline.store.door import to_json
from pipeline.store.tables import Utc

Row = Mapping[str, Any]
Columns = Sequence[Column[Any]]
Bind = Callable[[Any], Any]

_POSTGRES_TYPES: tuple[tuple[type, str], ...] = (
    (Utc, "timestamptz"),
    (Boolean, "bool"),
    (Integer, "int4"),
    (Float, "float8"),
    (LargeBinary, "bytea"),
)
_encode = msgspec.json.Encoder().encode


def insert_many(conn: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows that all name the same columns; a column's plain default fills what is not
    named. Raises: DBAPIError, as IntegrityError for a key that is there already."""
    if not rows:
        return
    defaults = _defaults(table, tuple(rows[0]))
    if defaults:
        rows = [{**row, **defaults} for row in rows]
    columns = [table.c[name] for name in rows[0]]
    values = _tuples(columns, rows, conn.dialect.name)
    names = _listed(columns)
    if conn.dialect.name == "postgresql":
        types = [_postgres_type(column) for column in columns]
        _copy(conn, f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)", types, values)
    else:
        marks = ", ".join("?" * len(columns))
        conn.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", values)  # noqa: S608


def update_many(conn: Connection, table: Table, keys: Sequence[str], rows: Sequence[Row]) -> None:
    """Set the columns that the rows name besides ``keys``, each in the row of those keys.

    No two rows may have the same keys: which of them stayed would be left to the database. Not
    for columns of bytes. Raises: DBAPIError.
    """
    if not rows:
        return
    names = [*(name for name in rows[0] if name not in keys), *keys]
    columns = [table.c[name] for name in names]
    values = _tuples(columns, rows, conn.dialect.name)
    if conn.dialect.name == "postgresql":
        pairs = [f'"{c.name}" = n."{c.name}"{_cast(c)}' for c in columns]
        sets, same = ", ".join(pairs[: -len(keys)]), pairs[-len(keys) :]
        shape = ", ".join(f'"{c.name}" {_postgres_type(c)}' for c in columns)
        statement = (
            f"UPDATE {table.name} AS o SET {sets}"  # noqa: S608  names of our own tables
            f" FROM json_to_recordset(%s::json) AS n({shape})"
            f" WHERE {' AND '.join(f'o.{pair}' for pair in same)}"
        )
        text = _encode([dict(zip(names, row, strict=True)) for row in values]).decode()
        conn.exec_driver_sql(statement, (text,))
    else:
        pairs = [f'"{name}" = ?' for name in names]
        sets, where = ", ".join(pairs[: -len(keys)]), " AND ".join(pairs[-len(keys) :])
        conn.exec_driver_sql(f"UPDATE {table.name} SET {sets} WHERE {where}", values)  # noqa: S608


def _copy(
    conn: Connection, statement: str, types: Sequence[str], values: Sequence[tuple[Any, ...]]
) -> None:
    """By the driver itself, in the transaction that is open; its errors as SQLAlchemy's."""
    driver: Any = conn.connection.driver_connection
    errors: Any = conn.dialect.dbapi
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            for row in values:
                copy.write_row(row)
    except errors.Error as error:
        raise DBAPIError.instance(statement, None, error, errors.Error) from error


def _tuples(columns: Columns, rows: Sequence[Row], dialect: str) -> list[tuple[Any, ...]]:
    """The rows in the driver's types."""
    values: list[list[Any]] = []
    for column in columns:
        name, bind = column.name, _bind(column, dialect)
        given = [row[name] for row in rows]
        values.append(given if bind is None else [None if v is None else bind(v) for v in given])
    return list(zip(*values, strict=True))


def _listed(columns: Columns) -> str:
    return ", ".join(f'"{column.name}"' for column in columns)


def _postgres_type(column: Column[Any]) -> str:
    """The type whose binary form the column takes: that of json is its text."""
    return next((sql for kind, sql in _POSTGRES_TYPES if isinstance(column.type, kind)), "text")


def _cast(column: Column[Any]) -> str:
    return "::json" if isinstance(column.type, JSON) else ""


@cache
def _defaults(table: Table, given: tuple[str, ...]) -> dict[str, Any]:
    return {
        column.name: column.default.arg
        for column in table.columns
        if column.name not in given and isinstance(column.default, ScalarElementColumnDefault)
    }


def _bind(column: Column[Any], dialect: str) -> Bind | None:
    """How one value goes to the driver; None: as it is."""
    if isinstance(column.type, JSON):
        return to_json
    if isinstance(column.type, Utc):
        return _sqlite_time if dialect == "sqlite" else _aware
    return None


def _aware(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("a time without zone; pass an aware datetime")
    return at


def _sqlite_time(at: datetime) -> str:
    return _aware(at).astimezone(UTC).isoformat(" ", "microseconds")[:26]
