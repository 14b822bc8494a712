"""``tingfeng annotate``: JSON lines of texts in, JSON lines of annotations out."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import structlog

from nlp.annotator import Annotator, to_json_line
from nlp.claims import read_claims
from pipeline.errors import TingfengError

log = structlog.get_logger("annotate")

CHUNK = 1 << 20
BATCH = 512

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


class BadLines(TingfengError):
    """Some lines could not be read; the others were judged."""


def read_chunks(stream: BinaryIO) -> Iterator[list[bytes]]:
    """Complete lines as they come: what a pipe has ready is judged at once."""
    read = stream.read1 if isinstance(stream, io.BufferedReader) else stream.read
    rest = b""
    while chunk := read(CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield lines
    if rest:
        yield [rest]


def annotate_lines(
    stream: BinaryIO, *, claims: Path | None = None, model: Path | None = None
) -> Iterator[str]:
    """One JSON line per readable line, in order.

    A line that is not an object with ``id`` and ``text`` is named on standard error with its
    number and passed over. Raises: BadLines at the end when there was one; ModelMissing.
    """
    annotator = Annotator.load(model, claims=read_claims(claims) if claims else None)
    number, bad = 0, 0
    for lines in read_chunks(stream):
        for start in range(0, len(lines), BATCH):
            ids: list[Any] = []
            texts: list[str] = []
            hints: list[str | None] = []
            for line in lines[start : start + BATCH]:
                number += 1
                if not line.strip():
                    continue
                try:
                    record = _decoder.decode(line)
                    text = record["text"]
                    if not isinstance(text, str):
                        raise TypeError("text is not a string")
                    ids.append(record["id"])
                except (msgspec.DecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
                    bad += 1
                    log.error(
                        "line passed over; write an object with id and text",
                        line=number,
                        error=f"{type(error).__name__}: {error}",
                    )
                    continue
                texts.append(text)
                hint = record.get("place_hint")
                hints.append(hint if isinstance(hint, str) else None)
            if texts:
                for row_id, annotation in zip(
                    ids, annotator.annotate(texts, place_hints=hints), strict=True
                ):
                    yield _encoder.encode(to_json_line(row_id, annotation)).decode() + "\n"
    if bad:
        raise BadLines(f"{bad} of {number} lines could not be read; see the messages above")
