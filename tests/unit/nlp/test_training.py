from __future__ import annotations

import gzip
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from nlp import weights as model_file
from nlp.annotator import Annotator
from nlp.errors import LabelledFileError
from nlp.heads import HEADS
from nlp.kernel import sketch_texts
from nlp.training import metrics
from nlp.training.bench import bench_annotate
from nlp.training.card import hard_examples
from nlp.training.evaluate import evaluate_model
from nlp.training.folds import assign_folds
from nlp.training.labelled import read_files
from nlp.training.network import joined, train_network
from nlp.training.train import train_model
from nlp.training.vocabulary import Features
from tests.unit.nlp.texts import drill_rows

TODAY = date(2026, 11, 24)


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if path.suffix == ".gz":
        with gzip.open(path, "wt", encoding="utf-8") as stream:
            stream.write(text)
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The drill's posts as labelled files: one plain, one gzip with a source, one public set."""
    folder = tmp_path_factory.mktemp("labelled")
    rows = drill_rows()
    sourced = [{**row, "source": "drill"} for row in rows[::2]]
    public = [
        {"text": row["text"], "source": "smp2020_usual", "label": label}
        for row, label in zip(rows[:60], ["angry", "happy", "surprise"] * 20, strict=True)
    ]
    return [
        _write(folder / "own.jsonl", rows[1::2]),
        _write(folder / "train.jsonl.gz", sourced),
        _write(folder / "smp2020_usual.jsonl.gz", public),
        _write(
            folder / "stream.jsonl.gz",
            [
                {"text": f"又下雨了{i}，{row['text']}", "source": "x"}
                for i, row in enumerate(rows[:50])
            ],
        ),
    ]


@pytest.fixture(scope="module")
def trained(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "small.npz"
    rows = train_model(files, out, today=TODAY)
    assert {(row["set"], row["head"]) for row in rows} >= {
        (part, head.name) for part in ("real", "own") for head in HEADS
    }
    return out


def test_same_files_and_seed_give_the_same_bytes(
    files: list[Path], trained: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again.npz"
    train_model(files, again, today=TODAY)
    assert again.read_bytes() == trained.read_bytes()


def test_a_trained_model_annotates_and_has_learned(files: list[Path], trained: Path) -> None:
    annotator = Annotator.load(trained, claims=[])
    assert annotator.model_version.startswith("2026-11-24-")
    rows = read_files(files[:1], for_training=False)
    said = annotator.annotate([row.text for row in rows])
    kinds = HEADS[0].labels
    right = np.mean([a.kind == kinds[r.labels["kind"]] for a, r in zip(said, rows, strict=True)])
    assert right > 0.8


def test_the_card_tells_data_scores_and_limits(trained: Path) -> None:
    card = trained.with_name("MODEL_CARD.md").read_text(encoding="utf-8")
    parts = ("## Data", "smp2020_usual", "cross-validation", "## Limits", "2026-11-24")
    for part in (*parts, "## Thresholds"):
        assert part in card


def test_evaluate_measures_each_head_and_help(files: list[Path], trained: Path) -> None:
    rows = evaluate_model(files, trained)
    of = {(row["set"], row["head"]): row for row in rows}
    assert of["own", "kind"]["accuracy"] > 0.8
    assert 0 <= of["own", "kind"]["ece"] <= 1
    assert of["own", "help"]["recall"] >= 0.95
    assert ("smp2020_usual", "sentiment") in of
    assert ("smp2020_usual", "kind") not in of


def test_a_research_set_is_refused_for_training_only(tmp_path: Path) -> None:
    rows = [{"text": "某地暴雨", "source": "weibo21", "label": "rumor"}]
    path = _write(tmp_path / "some.jsonl", rows)
    with pytest.raises(LabelledFileError, match="research only"):
        read_files([path], for_training=True)
    assert read_files([path], for_training=False) == []


def test_a_text_without_label_is_left_to_the_teacher(tmp_path: Path) -> None:
    rows = [
        {"text": "某地暴雨", "source": "some_stream", "label": None},
        {"text": "某地大雪", "source": "some_stream", "label": {"urgency": "rain"}},
        {"text": "某地大风", "source": "weibo21", "label": {"rumor": "rumor"}},
    ]
    path = _write(tmp_path / "stream.jsonl", rows)
    read = read_files([path], for_training=True)
    assert [row.text for row in read] == ["某地暴雨", "某地大雪"]
    assert all(not row.labels and not row.guide for row in read)
    assert read_files([path], for_training=False) == []


@pytest.mark.parametrize(
    "line",
    ["not json", '{"text": "雨", "kind": "nonsense"}', '{"kind": "talk"}', '["a"]'],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("\n" + line + "\n", encoding="utf-8")
    with pytest.raises(LabelledFileError, match=r"bad\.jsonl, line 2"):
        read_files([path], for_training=True)


def test_too_few_texts_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "few.jsonl", drill_rows()[:20])
    with pytest.raises(LabelledFileError, match="only 20 texts"):
        train_model([path], tmp_path / "few.npz", today=TODAY)


def test_near_copies_never_part(tmp_path: Path) -> None:
    rows = drill_rows()
    copies = [{**row, "text": f"转：{row['text']}！！"} for row in rows[:100]]
    labelled = read_files([_write(tmp_path / "both.jsonl", rows + copies)], for_training=True)
    texts = [row.text for row in labelled]
    features = Features.of(texts)
    sketches, exacts, contents = sketch_texts(texts)
    fold = assign_folds(labelled, features, sketches, exacts, contents, 5, 7)
    long = [i for i in range(100) if len(texts[i]) > 25]
    assert len(long) > 20
    assert all(fold[i] == fold[len(rows) + i] for i in long)
    assert min(np.bincount(fold)) > 50


def test_the_hard_examples_are_labelled_by_the_guide() -> None:
    assert len(hard_examples()) >= 15
    assert all(row.guide for row in hard_examples())


def test_the_shipped_model_is_small_and_says_what_it_is() -> None:
    assert model_file.shipped_path().stat().st_size < 12_000_000
    card = model_file.load().card
    assert {entry["set"] for entry in card["data"]} >= {"own", "real"}
    assert "weibo21" not in json.dumps(card["data"])
    assert model_file.shipped_path().with_name("MODEL_CARD.md").is_file()


def test_metrics() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]], np.float32)
    truth = np.array([0, 0, 1, 1])
    measured = metrics.head_scores(scores, truth)
    assert measured["accuracy"] == 0.75
    assert measured["n"] == 4
    assert measured["ece"] == pytest.approx(0.3, abs=1e-4)
    at = metrics.precision_at_recall(scores[:, 1], truth == 1, 0.95)
    assert (at["precision"], at["recall"]) == (1.0, 1.0)


def test_the_commonest_confusions_come_first() -> None:
    truth, chosen = np.array([0, 0, 0, 1, 1, 2]), np.array([1, 1, 0, 0, 1, 2])
    found = metrics.confusions(truth, chosen, ("help", "talk", "offer"))
    assert found == [("help", "talk", 2, 3), ("talk", "help", 1, 2)]


def test_joined_networks_answer_their_mean() -> None:
    random = np.random.RandomState(1)
    matrix = sp.csr_matrix((random.rand(20, 12) < 0.4).astype(np.float32))
    targets = np.eye(2, dtype=np.float32)[random.randint(0, 2, 20)]
    weights, spans = np.ones((20, 1), np.float32), np.array([0, 2])
    one, other = (train_network(matrix, targets, weights, spans, 3, seed) for seed in (1, 2))
    mean = (one.logits(matrix) + other.logits(matrix)) / 2
    assert np.allclose(joined([one, other]).logits(matrix), mean, atol=1e-5)
    assert not np.allclose(one.logits(matrix), other.logits(matrix), atol=1e-2)


def test_every_head_doubts_its_weakest_answers() -> None:
    best = np.linspace(0.3, 1, 2_000)
    assert metrics.unsure_below(best, best > 0.6) == pytest.approx(0.6, abs=0.1)
    never_weak = metrics.unsure_below(best, np.ones(2_000, bool))
    assert (best < never_weak).mean() == pytest.approx(metrics.LEAST_UNSURE, abs=0.002)


def test_bench_prints_figures_with_their_machine() -> None:
    figures = bench_annotate(200)
    assert figures["n"] == 200
    assert figures["heads_and_sketch_per_s"] > 0
    assert {"machine", "versions", "model"} <= set(figures)
