"""The trained weights: what they are, how they are kept in one file without pickle.

A model is wide and deep, and both halves share one table with a row of integers per n-gram:
columns 0-17 are linear weights of the labels, ``NORM_AT`` the squared weight of the n-gram in the
length of the text, ``HIDDEN_AT`` and after the input weights of the hidden layer.

    linear = sum(row[:18]) * scale / sqrt(sum(row[NORM_AT]) * scale)
    hidden = relu(sum(row[HIDDEN_AT:]) * scale / sqrt(n-grams) + hidden_bias)
    logits = linear + hidden @ output + bias

In the file the table is 8 bits a number, companded by a square root: linear 8 bits would clip the
strongest words, which are the ones that matter. The card is JSON inside the same file.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlp.errors import ModelMissing, ModelUnreadable
from nlp.heads import COLUMNS, HEADS

GRAM = 3  # longest n-gram the heads see, characters
SHINGLE = 4  # n-gram of the near-copy sketch, characters
SKETCH = 64  # values of a sketch
MIN_CONTENT = 8  # content characters under which a text has no sketch
REASONS = 5  # words kept per head

NORM_AT = COLUMNS
HIDDEN_AT = COLUMNS + 1
LINE = 32  # rows are padded to so many columns: 64 bytes, one cache line

_FORMAT = "tingfeng-annotator/1"
_ARRAYS = ("keys", "table", "limit", "hidden_bias", "output", "bias")
_ROW_LIMIT = 30_000  # of 32,767: sums of rows are kept in 32 bits


@dataclass(frozen=True, slots=True)
class Weights:
    """``keys`` (V,) hashed n-grams; ``rows`` (V, W), W = 19 + H padded to a multiple of 32;
    ``scale`` (W,); ``hidden_bias`` (H,); ``output`` (H, 18); ``bias`` (18,);
    ``card``: version, data, scores, thresholds."""

    keys: NDArray[np.uint32]
    rows: NDArray[np.int16]
    scale: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    output: NDArray[np.float32]
    bias: NDArray[np.float32]
    card: dict[str, Any]

    @property
    def version(self) -> str:
        return str(self.card["version"])


def pack(
    keys: NDArray[np.uint32],
    table: NDArray[np.float32],
    hidden_bias: NDArray[np.float32],
    output: NDArray[np.float32],
    bias: NDArray[np.float32],
) -> dict[str, NDArray[Any]]:
    """The arrays of a model file; ``table`` (V, HIDDEN_AT + H) in columns as described above."""
    limit = np.abs(table).max(axis=0) + 1e-9
    packed = (np.sign(table) * np.round(np.sqrt(np.abs(table) / limit) * 127)).astype(np.int8)
    return {
        "keys": keys,
        "table": packed,
        "limit": limit.astype(np.float32),
        "hidden_bias": hidden_bias.astype(np.float32),
        "output": output.astype(np.float32),
        "bias": bias.astype(np.float32),
    }


def _unpack(arrays: dict[str, NDArray[Any]], card: dict[str, Any]) -> Weights:
    table = arrays["table"]
    used = table.shape[1]
    width = -(-used // LINE) * LINE
    share = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float32) / 127
    meaning = np.round(np.sign(share) * share**2 * _ROW_LIMIT).astype(np.int16)
    rows = np.zeros((len(table), width), np.int16)
    for column in range(used):  # 256 meanings looked up, not a float copy of the table
        rows[:, column] = meaning[table[:, column].view(np.uint8)]
    scale = np.zeros(width, np.float32)
    scale[:used] = arrays["limit"] / np.float32(_ROW_LIMIT)
    return Weights(
        keys=arrays["keys"],
        rows=rows,
        scale=scale,
        hidden_bias=arrays["hidden_bias"],
        output=arrays["output"],
        bias=arrays["bias"],
        card=card,
    )


def save(path: Path, arrays: dict[str, NDArray[Any]], card: dict[str, Any]) -> None:
    """Write one compressed ``.npz``; the same model gives the same bytes."""
    text = json.dumps({"format": _FORMAT, **card}, ensure_ascii=False, sort_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    stored: dict[str, Any] = {**arrays, "card": np.frombuffer(text.encode(), np.uint8)}
    np.savez_compressed(path, **stored)


def shipped_path() -> Path:
    """Where the weights that come with the package lie."""
    return Path(str(files("nlp") / "models" / "annotator.npz"))


def load(path: Path | None = None) -> Weights:
    """Read a model file, the shipped one by default.

    Raises ModelMissing when there is none and ModelUnreadable when it cannot be used.
    """
    arrays, card = _read(shipped_path() if path is None else path, _ARRAYS)
    return _unpack(arrays, card)


def read_card(path: Path | None = None) -> dict[str, Any]:
    """Only the card of a model file: version, data, scores, thresholds. Raises as ``load``."""
    return _read(shipped_path() if path is None else path, ())[1]


def read_table(path: Path | None = None) -> NDArray[np.float32]:
    """The table as ``pack`` was given it, ``(V, HIDDEN_AT + H)``, but for rounding."""
    arrays, _ = _read(shipped_path() if path is None else path, ("table", "limit"))
    share = arrays["table"].astype(np.float32) / 127
    return np.asarray(np.sign(share) * share**2 * arrays["limit"], np.float32)


def _read(path: Path, names: Sequence[str]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    if not path.is_file():
        raise ModelMissing(
            f"no trained model at {path.name}; run `tingfeng train FILES` to make one, "
            "or name a model file"
        )
    try:
        with np.load(path, allow_pickle=False) as stored:
            card = json.loads(stored["card"].tobytes())
            arrays = {name: stored[name] for name in names}
        labels = {head.name: list(head.labels) for head in HEADS}
        if card["format"] != _FORMAT or card["labels"] != labels:
            raise ModelUnreadable(f"{path.name} was made by another version; train again")
        return arrays, card
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelUnreadable(f"{path.name} is damaged ({error}); train again") from error
