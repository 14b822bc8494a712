from __future__ import annotations

import builtins
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlp import kernel, portable
from nlp.annotator import Annotator, to_json_line
from nlp.claims import KnownClaim
from nlp.cues import find_cues
from nlp.errors import ModelMissing, ModelUnreadable
from nlp.heads import HEADS
from nlp.types import HAZARDS
from tests.unit.nlp.texts import HOSTILE, drill_texts

HELP = "奶奶一个人住一楼，水已经到床沿，打不通电话，求助，谁在附近能去看一下，快来救人"


@pytest.fixture(scope="module")
def annotator() -> Annotator:
    return Annotator.load()


def test_a_call_for_help(annotator: Annotator) -> None:
    said = annotator.annotate([HELP])[0]
    assert (said.kind, said.urgency, said.sentiment, said.relevant) == ("help", 3, "neg", True)
    assert "call_for_help" in said.cues
    assert said.model == annotator.model_version


def test_a_question_about_a_claim(annotator: Annotator) -> None:
    said = annotator.annotate(["听说大王滩水库今晚要泄洪，是真的吗？有没有人知道"])[0]
    assert said.rumour == "question"
    assert "flood" in said.hazards
    assert said.places[0].name == "大王滩水库"
    assert "真" in "".join(word for word, weight in said.reasons["rumour"] if weight > 0)


def test_an_official_warning(annotator: Annotator) -> None:
    text = "南宁市气象台2026年7月3日16时发布暴雨橙色预警信号，请注意防范"
    at = datetime(2026, 7, 3, 8, 5, tzinfo=UTC)
    said = annotator.annotate([text], published=[at], place_hints=["广西"])[0]
    assert said.kind == "official"
    assert said.warning is not None
    assert said.warning.colour == "orange"
    assert said.rumour == "none"


def test_irrelevant_text_is_not_searched(annotator: Annotator) -> None:
    said = annotator.annotate(["新专辑今晚上线，粉丝打榜冲啊，演唱会门票抽奖"])[0]
    assert not said.relevant
    assert (said.hazards, said.places, said.claims, said.warning) == ((), (), (), None)
    assert said.tokens


def test_scores_are_probabilities_and_the_label_is_the_best(annotator: Annotator) -> None:
    for said in annotator.annotate(drill_texts()[:120]):
        chosen = {
            "kind": said.kind,
            "sentiment": said.sentiment,
            "urgency": str(said.urgency),
            "rumour": said.rumour,
        }
        for head in HEADS:
            scores = said.scores[head.name]
            assert sum(scores.values()) == pytest.approx(1, abs=1e-3)
            assert scores[chosen[head.name]] == max(scores.values())
            assert len(said.reasons[head.name]) <= kernel.REASONS


def test_reasons_are_words_of_the_text(annotator: Annotator) -> None:
    said = annotator.annotate([HELP])[0]
    for words in said.reasons.values():
        for word, weight in words:
            assert word in HELP or word in {",", "?"}
            assert weight != 0


def test_reasons_can_be_left_out(annotator: Annotator) -> None:
    assert annotator.annotate([HELP], reasons=False)[0].reasons == {}


def test_a_known_claim_is_found_and_does_not_lower_urgency() -> None:
    claim = KnownClaim(id="c1", claim="大王滩水库今晚九点开闸泄洪，下游居民赶快撤离")
    text = "听说大王滩水库今晚九点开闸泄洪，下游居民赶快撤离，我奶奶还在一楼，求助快来救人"
    plain = Annotator.load(claims=[]).annotate([text])[0]
    matched = Annotator.load(claims=[claim]).annotate([text])[0]
    assert [match.id for match in matched.claims] == ["c1"]
    assert matched.urgency >= plain.urgency
    assert matched.scores == plain.scores


def test_hostile_texts(annotator: Annotator) -> None:
    said = annotator.annotate(HOSTILE)
    assert len(said) == len(HOSTILE)
    for one in said:
        json.dumps(to_json_line("x", one), ensure_ascii=True)
        assert set(one.hazards) <= set(HAZARDS)
    assert said[HOSTILE.index("")].sketch == ""


def test_batches_do_not_change_answers(annotator: Annotator) -> None:
    texts = drill_texts()[:40]
    together = annotator.annotate(texts * 20)
    assert together[40:80] == together[:40] == annotator.annotate(texts)


def test_sketch_and_exact_hash_as_hexadecimal(annotator: Annotator) -> None:
    said = annotator.annotate([HELP])[0]
    sketches, exacts, _ = kernel.sketch_texts([HELP])
    values = np.frombuffer(bytes.fromhex(said.sketch), ">u4")
    assert np.array_equal(values, sketches[0])
    assert said.exact == f"{int(exacts[0]):016x}"


def test_json_line_has_the_form_that_programs_rely_on(annotator: Annotator) -> None:
    line = to_json_line("p1", annotator.annotate([HELP])[0])
    assert list(line) == [
        "id", "relevant", "kind", "sentiment", "urgency", "rumour", "hazards", "places", "claims",
        "scores", "reasons",
    ]  # fmt: skip
    assert json.loads(json.dumps(line)) == line


def test_no_model_no_guess(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="tingfeng train"):
        Annotator.load(tmp_path / "none.npz")


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.npz"
    path.write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(ModelUnreadable, match="train again"):
        Annotator.load(path)


def test_without_numba_it_warns_and_answers_the_same(
    annotator: Annotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_import = builtins.__import__

    def no_numba(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "nlp" and "kernel" in (args[2] or ()):
            raise ImportError("No module named 'numba'")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_numba)
    with pytest.warns(RuntimeWarning, match="numba cannot be imported"):
        slow = Annotator.load()
    monkeypatch.undo()
    assert isinstance(slow._kernel, portable.Kernel)
    texts = drill_texts()[:60]
    for a, b in zip(slow.annotate(texts), annotator.annotate(texts), strict=True):
        assert (a.kind, a.sentiment, a.urgency, a.rumour) == (
            b.kind, b.sentiment, b.urgency, b.rumour,
        )  # fmt: skip
        assert (a.sketch, a.exact, a.tokens) == (b.sketch, b.exact, b.tokens)


@pytest.mark.parametrize(
    ("text", "cue"),
    [
        ("快来救人,孩子还在里面", "people_at_risk"),
        ("群里说明天停课", "hearsay"),
        ("说好的暴雨呢", "forecast_complaint"),
        ("水都到腰了", "water_level"),
        ("暴风雨般的掌声", "figurative"),
        ("经核实该视频为旧视频,别信", "debunk"),
    ],
)
def test_cues(text: str, cue: str) -> None:
    assert cue in find_cues(text)
