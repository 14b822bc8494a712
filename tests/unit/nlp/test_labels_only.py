"""Labels may be handed on where texts may not: they find their text by its id."""

from __future__ import annotations

import json
from pathlib import Path

from nlp.training.labelled import read_files

LABELS = {"kind": "impact", "sentiment": "neg", "urgency": 2, "rumour": "none"}


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_labels_find_their_text(tmp_path: Path) -> None:
    posts = write(
        tmp_path / "stream.jsonl",
        [
            {"id": "a:1", "text": "车库进水了", "source": "weibo", "label": None},
            {"id": "a:2", "text": "吃饭", "source": "weibo", "label": None},
            {"id": "a:3", "text": "车库进水了", "source": "weibo", "label": None},
        ],
    )
    labels = write(
        tmp_path / "labels.jsonl",
        [{"id": "a:1", "pick": "unsure", **LABELS}, {"id": "b", **LABELS}],
    )
    rows = read_files([labels, posts], for_training=True)
    assert [(r.text, r.set_name, r.guide) for r in rows] == [
        ("车库进水了", "real", True),
        ("吃饭", "unlabelled", False),
        ("车库进水了", "unlabelled", False),
    ]
    assert rows[0].labels["kind"] >= 0 and rows[0].raw["pick"] == "unsure"
    assert not rows[0].own


def test_a_text_that_somebody_labelled_already_is_not_labelled_twice(tmp_path: Path) -> None:
    gold = write(
        tmp_path / "gold.jsonl",
        [{"id": "g", "text": "车库进水了", "source": "weibo", **LABELS, "kind": "help"}],
    )
    posts = write(
        tmp_path / "stream.jsonl",
        [{"id": "a:1", "text": "车库进水了", "source": "weibo", "label": None}],
    )
    labels = write(tmp_path / "labels.jsonl", [{"id": "a:1", **LABELS}])
    rows = read_files([gold, labels, posts], for_training=True)
    assert [r.raw["id"] for r in rows if r.guide] == ["g"]


def test_without_its_text_a_label_is_nothing(tmp_path: Path) -> None:
    labels = write(tmp_path / "labels.jsonl", [{"id": "a:1", **LABELS}])
    assert read_files([labels], for_training=True) == []
    assert read_files([labels], for_training=False) == []
