"""Champion against challenger: only what chance does not explain is called a difference."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nlp import weights as model_file
from nlp.heads import HEAD
from nlp.training.challenge import (
    DRAWS,
    HELD,
    ORDINARY,
    _draws,
    _head,
    _help,
    _macro_f1,
    _precision,
    as_table,
    compare_models,
    verdict,
)
from nlp.training.corrections import CorrectedText, held_back, no_copies, split
from nlp.training.labelled import LabelledText
from nlp.training.metrics import head_scores, precision_at_recall
from tests.unit.nlp.texts import drill_rows

SEED = 7


def scores(truth: np.ndarray, accuracy: float, labels: int, seed: int) -> np.ndarray:
    """Probabilities whose best label is right in about that share of texts."""
    random = np.random.RandomState(seed)
    said = np.where(
        random.rand(len(truth)) < accuracy, truth, random.randint(labels, size=len(truth))
    )
    given = random.dirichlet(np.ones(labels), len(truth)).astype(np.float32) * 0.2
    given[np.arange(len(truth)), said] += 0.8
    return given


TRUTH = np.random.RandomState(3).randint(3, size=600)


def test_a_clear_gain_is_better_and_a_clear_loss_worse() -> None:
    weak, strong = scores(TRUTH, 0.6, 3, 1), scores(TRUTH, 0.85, 3, 2)
    gained = _head(weak, strong, TRUTH, SEED)
    assert gained["verdict"] == "better"
    for measure in ("accuracy", "macro_f1"):
        low, high = gained[f"{measure}_by"]
        assert low < gained[f"{measure}_new"] - gained[measure] < high
    assert _head(strong, weak, TRUTH, SEED)["verdict"] == "worse"


def test_equally_good_models_are_no_clear_difference() -> None:
    found = [
        _head(scores(TRUTH, 0.75, 3, 10 + n), scores(TRUTH, 0.75, 3, 50 + n), TRUTH, SEED)
        for n in range(10)
    ]
    assert sum(row["verdict"] == "no clear difference" for row in found) >= 8
    same = scores(TRUTH, 0.75, 3, 1)
    assert _head(same, same, TRUTH, SEED)["accuracy_by"] == [0.0, 0.0]


def test_the_bootstrap_measures_what_the_report_measures() -> None:
    given = scores(TRUTH, 0.7, 3, 4)
    once = np.ones((1, len(TRUTH)), np.float32)
    assert _macro_f1(once, TRUTH, given.argmax(1))[0] == pytest.approx(
        head_scores(given, TRUTH)["macro_f1"], abs=1e-4
    )
    is_one = TRUTH == 1
    assert _precision(once, given[:, 1], is_one)[0] == pytest.approx(
        precision_at_recall(given[:, 1], is_one, 0.95)["precision"], abs=1e-4
    )
    assert sum(len(counts) for counts in _draws(20, SEED)) == DRAWS


def test_help_calls_are_compared_at_the_threshold_that_finds_them() -> None:
    random = np.random.RandomState(5)
    calls = random.rand(800) < 0.1
    sharp = (0.9 * calls + 0.1 * random.rand(800)).astype(np.float32)
    dull = (0.3 * calls + 0.7 * random.rand(800)).astype(np.float32)
    row = _help([dull, sharp], calls, SEED)
    assert row["verdict"] == "better" and row["precision_new"] == 1.0 and row["n"] == calls.sum()


@pytest.mark.parametrize(
    ("n", "intervals", "says"),
    [
        (29, [[0.1, 0.2]], "too few"),
        (30, [[0.1, 0.2], [-0.1, 0.2]], "better"),
        (30, [[-0.2, -0.1], [-0.1, 0.2]], "worse"),
        (30, [[-0.2, -0.1], [0.1, 0.2]], "mixed"),
        (30, [[-0.2, 0.1], [0.0, 0.2]], "no clear difference"),
    ],
)
def test_verdicts(n: int, intervals: list[list[float]], says: str) -> None:
    assert verdict(n, intervals) == says


def test_a_model_beside_itself_on_a_file_and_on_corrections(tmp_path: Path) -> None:
    rows = drill_rows()[:60]
    path = tmp_path / "fixed.jsonl"
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    number = HEAD["sentiment"].labels.index("neg")
    held = [LabelledText(row["text"], "corrections", {"sentiment": number}) for row in rows[:40]]
    shipped = model_file.shipped_path()
    texts = [row["text"] for row in rows]
    found = compare_models(None, shipped, [path], held, ordinary=texts)
    assert {row["head"] for row in found if row["set"] == "fixed"} >= {"kind", "rumour"}
    by_set = {name: [row for row in found if row["set"] == name] for name in (HELD, ORDINARY)}
    assert [(row["head"], row["verdict"]) for row in by_set[HELD]] == [("sentiment", "selected")]
    assert [row["changed"] for row in by_set[ORDINARY]] == [0.0] * 4
    fixed = {row["verdict"] for row in found if row["set"] == "fixed"}
    assert fixed <= {"no clear difference", "too few"}
    table = as_table(found)
    assert len(table) == len(found) + 1
    assert "→" in table[1] and "[+0.000, +0.000]" in table[1]


# ---- which corrections judge ---------------------------------------------------------------


def corrected(texts: list[str]) -> list[CorrectedText]:
    return [CorrectedText(text, {"kind": "impact"}) for text in texts]


def test_a_fifth_is_held_back_and_the_same_fifth_again_later() -> None:
    texts = [row["text"] for row in drill_rows()]
    learn, held, _ = split(corrected(texts), SEED)
    assert 0.1 < len(held) / (len(learn) + len(held)) < 0.3
    more = corrected([*texts, "民族大道的积水已经没过膝盖了，公交都停了"])
    again = split(more, SEED)
    assert [row.text for row in again[1]][: len(held)] == [row.text for row in held]


def test_a_copy_follows_what_it_resembles() -> None:
    first = "大王滩水库今晚要泄洪请下游群众注意安全尽快转移到高处"
    copies = [f"{'转' * n}{first}{'！' * n}" for n in range(6)]
    learn, held, _ = split(corrected(copies), SEED)
    assert {len(learn), len(held)} == {0, 6}
    assert bool(held) is held_back(first, SEED)


def test_a_label_nobody_knows_is_left_out() -> None:
    assert split([CorrectedText("好大的雨", {"kind": "nonsense"})], SEED) == ([], [], [])


def test_spot_checks_judge_and_never_teach() -> None:
    texts = [row["text"] for row in drill_rows()]
    drawn = [CorrectedText(text, {"kind": "talk"}, drawn=True) for text in texts[:40]]
    learn, held, checked = split([*drawn, *corrected(texts)], SEED)
    assert [row.text for row in checked][:40] == texts[:40]
    known = {row.text for row in checked}
    assert learn and held and not known & {row.text for row in [*learn, *held]}
    taught_first = split([*corrected(texts[:1]), CorrectedText(texts[0], {}, drawn=True)], SEED)
    assert taught_first[2] == [], "what taught a model cannot be called unseen"


def test_what_people_corrected_is_not_among_ordinary_texts() -> None:
    said = "竹溪立交桥下的水已经淹到车窗了有人困在车里"
    ordinary = ["今天南宁的天空特别蓝适合出门走走", f"转发：{said}！！", said]
    assert no_copies(ordinary, [said]) == ordinary[:1]
    assert no_copies(ordinary, []) == ordinary
