"""Near-copies: the sketch index against exact comparison."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlp.duplicates import BANDS, VALUES, Sketch, SketchIndex, jaccard, read_sketch, similarity

T0 = datetime(2026, 7, 1, tzinfo=UTC)


def _random(seed: int) -> Sketch:
    return np.random.default_rng(seed).integers(0, 2**32, VALUES, dtype=np.uint32)


def _changed(sketch: Sketch, count: int, seed: int = 0) -> Sketch:
    """The sketch with ``count`` of its values replaced."""
    rng = np.random.default_rng(seed)
    made = sketch.copy()
    made[rng.choice(VALUES, count, replace=False)] = rng.integers(0, 2**32, count, dtype=np.uint32)
    return made


def _hex(sketch: Sketch) -> str:
    return sketch.astype(">u4").tobytes().hex()


def test_a_copy_is_found_and_a_stranger_is_not() -> None:
    index = SketchIndex()
    index.add("first", _random(1), T0)
    index.add("second", _random(2), T0 + timedelta(minutes=1))
    assert index.nearest(_random(2)) == ("second", 1.0)
    assert index.nearest(_random(3)) is None


def test_hexadecimal_and_array_are_one_sketch() -> None:
    index = SketchIndex()
    index.add("a", _hex(_random(5)), T0)
    assert index.nearest(_random(5)) == ("a", 1.0)
    read = read_sketch(_hex(_random(5)))
    assert read is not None
    assert similarity(read, _random(5)) == 1.0


def test_a_text_too_short_for_a_sketch_is_passed_over() -> None:
    index = SketchIndex()
    index.add("short", "", T0)
    assert len(index) == 0
    assert index.nearest("") is None


def test_a_sketch_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="512"):
        SketchIndex().nearest("abcd")
    with pytest.raises(ValueError, match="shape"):
        SketchIndex().nearest(np.zeros(8, dtype=np.uint32))


def test_the_more_similar_of_two_wins_and_the_earlier_of_equals() -> None:
    index = SketchIndex()
    base = _random(7)
    index.add("far", _changed(base, 30, 1), T0)
    index.add("near", _changed(base, 10, 2), T0 + timedelta(minutes=1))
    index.add("near again", _changed(base, 10, 2), T0 + timedelta(minutes=2))
    found = index.nearest(base)
    assert found is not None
    assert found[0] == "near"
    assert found[1] == pytest.approx((VALUES - 10) / VALUES)


def test_share_of_near_copies_found_is_what_the_bands_promise() -> None:
    index = SketchIndex()
    for number in range(400):
        index.add(number, _random(number), T0 + timedelta(seconds=number))
    changed = 22  # similarity .66: the formula promises .96
    hits = sum(
        found is not None and found[0] == number
        for number in range(400)
        for found in [index.nearest(_changed(_random(number), changed, number + 1000))]
    )
    assert hits / 400 >= 0.93


def test_expired_texts_are_forgotten_unless_seen_again() -> None:
    index = SketchIndex()
    index.add("old", _random(1), T0)
    index.add("seen again", _random(2), T0)
    index.add("seen again", _random(2), T0 + timedelta(hours=5))
    index.add("new", _random(3), T0 + timedelta(hours=6))
    assert index.expire(T0 + timedelta(hours=1)) == 1
    assert index.nearest(_random(1)) is None
    assert index.nearest(_random(2)) == ("seen again", 1.0)
    assert "old" not in index
    assert len(index) == 2


def test_a_freed_place_is_used_again_without_ghosts() -> None:
    index = SketchIndex(capacity=16)
    for number in range(16):
        index.add(number, _random(number), T0 + timedelta(minutes=number))
    index.expire(T0 + timedelta(minutes=8))
    for number in range(100, 108):
        index.add(number, _random(number), T0 + timedelta(hours=1))
    assert index.nearest(_random(3)) is None
    assert index.nearest(_random(12)) == (12, 1.0)
    assert index.nearest(_random(105)) == (105, 1.0)


@given(st.lists(st.integers(0, 60), max_size=120))
def test_growing_loses_nothing(seeds: list[int]) -> None:
    index = SketchIndex(capacity=16)
    for place, seed in enumerate(seeds):
        index.add(seed, _random(seed), T0 + timedelta(seconds=place))
    assert len(index) == len(set(seeds))
    for seed in set(seeds):
        assert index.nearest(_random(seed)) == (seed, 1.0)


def test_one_shared_band_is_enough_to_meet() -> None:
    base = _random(11)
    other = _random(12)
    width = VALUES // BANDS
    other[:width] = base[:width]
    index = SketchIndex()
    index.add("base", base, T0)
    assert index.nearest(other) == ("base", width / VALUES)


def test_jaccard_is_exact() -> None:
    assert jaccard("大王滩水库没有泄洪计划", "大王滩水库没有泄洪计划") == 1.0
    assert jaccard("大王滩水库没有泄洪计划", "大王滩水库 没有泄洪计划") == 1.0
    assert jaccard("", "") == 0.0
    assert jaccard("abcde", "abcdf") == pytest.approx(1 / 3)


@given(st.text(max_size=40), st.text(max_size=40))
def test_jaccard_does_not_care_about_order(one: str, other: str) -> None:
    assert jaccard(one, other) == jaccard(other, one)
    assert 0.0 <= jaccard(one, other) <= 1.0
