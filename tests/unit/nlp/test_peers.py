"""The comparison with peers: everybody judged on the same texts, none of them learned from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nlp.errors import LabelledFileError
from nlp.training import peers
from nlp.training.labelled import own_corpus, read_files
from nlp.training.vocabulary import Features


def test_every_reader_answers_the_same_posts(tmp_path: Path) -> None:
    lines = own_corpus()[0].read_text(encoding="utf-8").splitlines()[:400]
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join(lines), encoding="utf-8")
    rows = list(peers.compare_with_peers([few]))
    readers = {
        task: {row["who"] for row in rows if row["task"] == task} for task in ("kind", "sentiment")
    }
    assert readers["kind"] == {"jieba + TF-IDF + LR", "the same done well", "ours"}
    assert readers["sentiment"] == readers["kind"] | {"SnowNLP", "cnsenti"}
    assert len({row["n"] for row in rows}) == 1
    assert all(0 <= row["macro_f1"] <= row["accuracy"] + 0.2 <= 1.2 for row in rows)
    assert all(row["posts_per_s"] > 0 for row in rows)


def test_copies_of_a_text_are_never_on_both_sides(tmp_path: Path) -> None:
    some = [json.loads(line) for line in own_corpus()[0].read_text("utf-8").splitlines()[:120]]
    copied = tmp_path / "copied.jsonl"
    lines = [
        json.dumps(row | {"text": row["text"] + tail}) for row in some for tail in ("", "。！")
    ]
    copied.write_text("\n".join(lines), encoding="utf-8")
    rows = read_files([copied], for_training=False)
    part = peers._parts(rows, Features.of([row.text for row in rows]), seed=7)
    assert set(part.tolist()) == set(range(peers.PARTS))
    assert (part[0::2] == part[1::2]).all()


def test_texts_that_the_guide_did_not_label_are_not_enough(tmp_path: Path) -> None:
    bare = tmp_path / "bare.jsonl"
    bare.write_text('{"text": "好大的雨", "source": "weibo2018", "label": "negative"}\n', "utf-8")
    with pytest.raises(LabelledFileError, match="guide"):
        list(peers.compare_with_peers([bare]))
