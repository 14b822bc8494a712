"""Read labelled files: JSON lines, plain or gzip, named by whoever trains.

Three kinds of line are understood:

- labelled by the guide (``docs/annotation.md``): ``text, kind, sentiment, urgency, rumour`` and
  ``hazards``. These train and judge the heads. A line with ``source`` is somebody's real post,
  one without was written for us.
- a public set (``source`` and ``label``): side tasks that share the hidden layer and so lend it
  vocabulary. SMP emotions also train sentiment, at a low weight.
- a text without a label of its own (``source``, and ``label`` null or an object): read for
  training only; the teacher labels it (``nlp.training.train``).
- labels by the guide for a text that stands elsewhere (``id`` and the labels, no ``text``): the
  text is looked up by its ``id`` among those of the other files, so that labels of posts that may
  not be handed on can be.

A set published for research only is refused: what it teaches cannot be shipped.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nlp.errors import LabelledFileError
from nlp.heads import HEADS

EMOTIONS = ("angry", "fear", "happy", "neutral", "sad", "surprise")
_EMOTION_AS_SENTIMENT = {
    "angry": "neg",
    "fear": "neg",
    "sad": "neg",
    "happy": "pos",
    "neutral": "neu",
}

# Side tasks: name -> labels in order. They are trained beside the heads and thrown away.
SIDE_TASKS: dict[str, tuple[str, ...]] = {
    "emotion": EMOTIONS,
    "rain": ("irrelevant", "rainstorm", "waterlogging"),
    "rescue": ("need_help", "offer_help", "other"),
    "report": ("nonrumor", "rumor"),
    "polarity": ("negative", "positive"),
}
_SIDE_TASK_OF = {
    "smp2020_usual": "emotion",
    "smp2020_virus": "emotion",
    "beijing_rain": "rain",
    "henan_rescue": "rescue",
    "ced": "report",
    "weibo_mm17": "report",
    "weibo2018": "polarity",
}
UNLABELLED = "unlabelled"
LABELS_ONLY = "labels only"
RESEARCH_ONLY = frozenset({"weibo21"})
LICENCES = {
    "smp2020_usual": "none stated; SMP2020-EWECT organisers",
    "smp2020_virus": "none stated; SMP2020-EWECT organisers",
    "beijing_rain": "none stated; texts belong to their authors",
    "henan_rescue": "MIT; texts belong to their authors",
    "ced": "to be cited: thunlp Chinese_Rumor_Dataset",
    "weibo_mm17": "to be cited: Jin et al. 2017",
    "weibo2018": "none stated",
    "corrections": "officers' corrections; texts belong to their authors; not distributed",
    "unlabelled": "texts belong to their authors; labelled by the teacher only; not distributed",
}

TASKS: dict[str, tuple[str, ...]] = {head.name: head.labels for head in HEADS} | SIDE_TASKS


@dataclass(frozen=True, slots=True)
class LabelledText:
    """One text and what is known about it. ``labels``: task -> number of its label."""

    text: str
    set_name: str
    labels: dict[str, int]
    own: bool = False
    guide: bool = False
    hazards: tuple[str, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False)


def read_files(files: Iterable[Path], *, for_training: bool) -> list[LabelledText]:
    """All labelled lines of the files, in order.

    Raises LabelledFileError, which names file and line, for a file that cannot be read, a label
    that the guide does not know, or (``for_training``) a set that is for research only.
    """
    rows: list[LabelledText] = []
    for path in files:
        rows.extend(_read_one(path, for_training))
    labels = {row.raw["id"]: row for row in rows if row.set_name == LABELS_ONLY}
    if not labels:
        return rows
    read = [_labelled_elsewhere(row, labels) for row in rows if row.set_name != LABELS_ONLY]
    guided = {row.text for row in read if row.guide and row.raw.get("id") not in labels}
    return [r for r in read if r.raw.get("id") not in labels or r.text not in guided]


def _labelled_elsewhere(row: LabelledText, labels: Mapping[str, LabelledText]) -> LabelledText:
    found = labels.get(str(row.raw.get("id"))) if row.set_name == UNLABELLED else None
    if found is None:
        return row
    return replace(
        found, text=row.text, set_name="real", raw={**row.raw, "pick": found.raw.get("pick", "")}
    )


def _lines(path: Path) -> Iterator[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as stream:
        yield from stream


def _read_one(path: Path, for_training: bool) -> Iterator[LabelledText]:
    number = 0
    try:
        for line in _lines(path):
            number += 1
            if not line.strip():
                continue
            row = json.loads(line)
            if not isinstance(row, dict):
                raise TypeError("not an object")
            source = row.get("source")
            if source is not None and not _named_label(row):
                if for_training and source not in RESEARCH_ONLY:
                    yield LabelledText(str(row["text"]), UNLABELLED, {}, raw=row)
                continue
            if for_training and (
                source in RESEARCH_ONLY or path.name.split(".")[0] in RESEARCH_ONLY
            ):
                raise LabelledFileError(
                    f"{path.name} holds posts of {source}, published for research only; "
                    "evaluate with it, leave it out of training"
                )
            labelled = _guide_row(row) if "kind" in row else _side_row(row)
            if labelled is not None:
                yield labelled
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise LabelledFileError(f"{path.name}, line {number}: {error}") from error
    except (KeyError, ValueError, TypeError) as error:
        raise LabelledFileError(
            f"{path.name}, line {number}: {error!r}; labels are listed in docs/annotation.md"
        ) from error


def _named_label(row: Mapping[str, Any]) -> bool:
    """Whether the line holds a label at all; some collections keep ``null`` or a mapping."""
    return "kind" in row or isinstance(row.get("label"), str)


def _guide_row(row: Mapping[str, Any]) -> LabelledText:
    if "text" not in row:
        named = {head.name: head.labels.index(str(row[head.name])) for head in HEADS}
        return LabelledText("", LABELS_ONLY, named, guide=True, raw={**row, "id": str(row["id"])})
    own = "source" not in row
    return LabelledText(
        text=str(row["text"]),
        set_name="own" if own else "real",
        labels={head.name: head.labels.index(str(row[head.name])) for head in HEADS},
        own=own,
        guide=True,
        hazards=tuple(row.get("hazards", ())),
        raw=row,
    )


def _side_row(row: Mapping[str, Any]) -> LabelledText | None:
    source = str(row["source"])
    task = _SIDE_TASK_OF.get(source)
    label = "other" if row["label"] == "invalid" else row["label"]
    if task is None or label not in SIDE_TASKS[task]:
        return None
    labels = {task: SIDE_TASKS[task].index(label)}
    if label in _EMOTION_AS_SENTIMENT and task == "emotion":
        labels["sentiment"] = TASKS["sentiment"].index(_EMOTION_AS_SENTIMENT[label])
    return LabelledText(text=str(row["text"]), set_name=source, labels=labels, raw=row)


def own_corpus() -> list[Path]:
    """The labelled files of our own writing that the package holds."""
    folder = Path(__file__).with_name("corpus")
    return [folder / name for name in ("posts.jsonl", "lookalikes.jsonl", "nanning.jsonl")]
