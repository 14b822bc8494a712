"""Rows of a file, one at a time: JSON lines, a JSON array, CSV, XLSX; plain or gzipped.

Memory stays constant whatever the size of the file. A row that cannot be read is handed on as
``Broken`` with its place and the reason, and reading goes on behind it wherever that is possible.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import msgspec
import openpyxl

LONGEST_LINE = 4 << 20  # bytes; a longer line is no post
CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Row:
    """``number``: line or row, from 1. ``cells``: column -> value. ``raw``: as it stood."""

    number: int
    cells: dict[str, Any]
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that has no cells. ``reason`` is Chinese: administrators read it on a screen."""

    number: int
    raw: bytes
    reason: str


# What a file that was cut off or is not what it says raises while it is read.
CUT_OFF = (OSError, EOFError, zlib.error, UnicodeError)


def open_binary(path: Path) -> IO[bytes]:
    """The file's bytes, unzipped when its first bytes say gzip (not by its name)."""
    with path.open("rb") as probe:
        zipped = probe.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")  # type: ignore[return-value]


def head_of(path: Path, size: int = CHUNK) -> bytes:
    """The first bytes of the (unzipped) file."""
    with open_binary(path) as file:
        return file.read(size)


def encoding_of(head: bytes) -> str:
    """utf-8-sig when the head is UTF-8 (a character cut at its end is no fault), else gb18030."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "gb18030"
    return "utf-8-sig"


def json_lines(path: Path) -> Iterator[Row | Broken]:
    """One JSON object a line; blank lines are passed over."""
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    number = 0
    with open_binary(path) as file:
        while line := file.readline(LONGEST_LINE):
            number += 1
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
                yield Broken(number, line[:1024], "这一行太长，不是帖文")
                continue
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            line = line.strip()
            if not line:
                continue
            try:
                yield Row(number, decode(line), line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                # Slower and more lenient: it takes the lone surrogates and NaN of other tools.
                yield _lenient(number, line)


def _lenient(number: int, line: bytes) -> Row | Broken:
    try:
        cells = json.loads(line)
    except UnicodeDecodeError:
        return Broken(number, line, "不是 UTF-8 编码")
    except (ValueError, RecursionError) as error:
        return Broken(number, line, f"不是 JSON：{getattr(error, 'msg', '嵌套太深')}")
    if not isinstance(cells, dict):
        return Broken(number, line, "每行应是一个 JSON 对象")
    return Row(number, cells, line)


def json_array(path: Path) -> Iterator[Row | Broken]:
    """The objects of one JSON array, without holding the array."""
    decoder = json.JSONDecoder()
    with open_binary(path) as file:
        reader = codecs.getreader("utf-8-sig")(file, "replace")
        text = reader.read(CHUNK).lstrip()
        if not text.startswith("["):
            yield Broken(1, text[:1024].encode("utf-8", "replace"), "文件应以 [ 开头（JSON 数组）")
            return
        text, number, ended = text[1:], 0, False
        while True:
            text = text.lstrip(" \t\r\n,")
            if text.startswith("]"):
                return
            try:
                value, end = decoder.raw_decode(text)
                if end == len(text) and not ended:
                    raise ValueError("a number may go on")
            except (ValueError, RecursionError):
                more = "" if ended or len(text) > LONGEST_LINE else reader.read(CHUNK)
                ended = not more
                if more:
                    text += more
                    continue
                number += 1
                raw = text[:1024].encode("utf-8", "replace")
                yield Broken(number, raw, "JSON 数组从这里起读不下去，后面的内容没有导入")
                return
            number += 1
            raw = text[:end].encode("utf-8", "replace")
            text = text[end:]
            if isinstance(value, dict):
                yield Row(number, value, raw)
            else:
                yield Broken(number, raw, "数组的元素应是 JSON 对象")


def csv_rows(path: Path, encoding: str = "") -> Iterator[Row | Broken]:
    """Rows of a CSV with a header line; of two equal headers the first filled one counts."""
    encoding = encoding or encoding_of(head_of(path))
    csv.field_size_limit(LONGEST_LINE)
    with open_binary(path) as file:
        lines = codecs.getreader(encoding)(file, "replace")
        reader = csv.reader(lines)
        header: list[str] = []
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Broken(reader.line_num, b"", f"CSV 读不出：{error}")
                continue
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = [name.strip() for name in cells]
                continue
            yield _row(reader.line_num, header, cells)


def _row(number: int, header: list[str], cells: list[Any]) -> Row | Broken:
    width = len(header)
    if any(cell not in ("", None) for cell in cells[width:]) or len(cells) * 2 < width:
        raw = json.dumps([str(c) for c in cells], ensure_ascii=False).encode("utf-8", "replace")
        return Broken(number, raw, f"这一行有 {len(cells)} 列，表头有 {width} 列")
    named: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=False):
        if name and named.get(name) in (None, ""):
            named[name] = cell
    return Row(number, named)


def xlsx_rows(path: Path) -> Iterator[Row | Broken]:
    """Rows of every sheet that has a header row, read one at a time."""
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # zip, XML and key errors alike: the file is not what it says
        yield Broken(1, b"", f"打不开这个 Excel 文件（{type(error).__name__}），请另存为 xlsx 再试")
        return
    try:
        for sheet in book.worksheets:
            header: list[str] = []
            for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
                if not any(cell not in ("", None) for cell in cells):
                    continue
                if not header:
                    header = [str(cell or "").strip() for cell in cells]
                    while header and not header[-1]:
                        header.pop()
                    continue
                padded = [_cell(cell) for cell in cells]
                yield _row(number, header, padded)
    finally:
        book.close()


def _cell(value: Any) -> Any:
    """A cell as text where it is a date, so that one time parser reads them all."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return "" if value is None else value
