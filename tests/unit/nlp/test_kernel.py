from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlp import kernel, portable
from nlp import weights as model_file
from nlp.heads import HEADS, SPANS, chosen_labels
from nlp.text import clean, segmenter
from tests.unit.nlp.texts import HOSTILE, drill_texts, many_texts


@pytest.fixture(scope="module")
def weights() -> model_file.Weights:
    return model_file.load()


@pytest.fixture(scope="module")
def compiled(weights: model_file.Weights) -> kernel.Kernel:
    return kernel.Kernel(weights)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.text(alphabet=st.characters(), max_size=80), max_size=6))
def test_the_kernel_cleans_as_the_definition_does(texts: list[str]) -> None:
    assert kernel.clean_texts(texts) == [clean(text) for text in texts]


@settings(deadline=None)
@given(st.lists(st.text(alphabet="htps:/@@a雨1234567890_. #\u3000\u200b", max_size=60), max_size=4))
def test_the_kernel_marks_as_the_definition_does(texts: list[str]) -> None:
    assert kernel.clean_texts(texts) == [clean(text) for text in texts]


def test_hostile_texts_have_an_answer(compiled: kernel.Kernel) -> None:
    logits, sketches, _, contents = compiled.score(HOSTILE)
    assert np.isfinite(logits).all()
    assert sketches.shape == (len(HOSTILE), kernel.SKETCH)
    assert contents[HOSTILE.index("")] == 0


def test_no_texts_no_rows(compiled: kernel.Kernel) -> None:
    assert compiled.score([])[0].shape == (0, 18)


def test_a_text_is_judged_alone(compiled: kernel.Kernel) -> None:
    texts = drill_texts()[:64]
    together = compiled.score(texts)
    for i in (0, 17, 63):
        alone = compiled.score([texts[i]])
        for a, b in zip(together, alone, strict=True):
            assert np.array_equal(a[i], b[0])


def test_portable_path_gives_the_same_answers(
    compiled: kernel.Kernel, weights: model_file.Weights
) -> None:
    texts = many_texts(20_000)
    fast, plain = compiled.score(texts), portable.Kernel(weights).score(texts)
    same = (chosen_labels(fast[0]) == chosen_labels(plain[0])).mean(axis=0)
    assert (same >= 0.995).all()
    assert np.allclose(fast[0], plain[0], atol=1e-3)
    for a, b in zip(fast[1:], plain[1:], strict=True):
        assert np.array_equal(a, b)


def test_portable_path_gives_the_same_reasons(
    compiled: kernel.Kernel, weights: model_file.Weights
) -> None:
    texts = [*drill_texts()[:60], *HOSTILE]
    chosen = chosen_labels(compiled.score(texts)[0])
    words = [segmenter().cut(clean(text)) for text in texts]
    fast_words, fast = compiled.explain(texts, chosen, words, SPANS)
    plain_words, plain = portable.Kernel(weights).explain(texts, chosen, words, SPANS)
    assert (fast_words == plain_words).mean() > 0.98
    assert np.allclose(fast, plain, atol=1e-3)


def test_reasons_add_up_to_the_answer(compiled: kernel.Kernel, weights: model_file.Weights) -> None:
    """All words' weights together are the chosen logit over its head's mean, less what the
    model says of an empty text (exactly so for the linear half)."""
    linear_only = model_file.Weights(
        weights.keys,
        weights.rows,
        weights.scale,
        weights.hidden_bias,
        np.zeros_like(weights.output),
        np.zeros_like(weights.bias),
        weights.card,
    )
    judge = kernel.Kernel(linear_only)
    texts = ["水已经到二楼了快来救人"]
    logits = judge.score(texts)[0]
    _, weight = judge.explain(texts, chosen_labels(logits), [[texts[0]]], SPANS)
    for h, head in enumerate(HEADS):
        part = logits[0, head.columns]
        assert weight[0, h, 0] == pytest.approx(part.max() - part.mean(), abs=1e-3)


def test_sketch_tells_copies_from_others() -> None:
    one = "紫荆苑小区地下车库进水，二十多台车泡在里面，物业说排水泵坏了没人修"
    copy = "【转】" + one + "！！！ http://t.cn/abc"
    other = "明天放晴，终于可以把晾了一个星期的被子收回来，太阳真好，想去青秀山走走"
    sketches, exacts, _ = kernel.sketch_texts([one, copy, other, one + "  "])
    assert np.mean(sketches[0] == sketches[1]) > 0.75
    assert np.mean(sketches[0] == sketches[2]) < 0.2
    assert exacts[0] == exacts[3] != exacts[2]


def test_marks_start_over_before_they_overflow(weights: model_file.Weights) -> None:
    texts = drill_texts()[:3]
    judge = kernel.Kernel(weights)
    before = judge.score(texts)[0]
    judge._mark = 2**31 - 4
    assert np.array_equal(judge.score(texts)[0], before)
    assert np.array_equal(judge.score(texts)[0], before)
