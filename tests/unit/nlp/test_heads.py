from __future__ import annotations

import numpy as np

from nlp.heads import COLUMNS, HEAD, HEADS, SPANS, best_scores, chosen_labels, probabilities
from nlp.types import KINDS, RUMOURS, SENTIMENTS, URGENCIES


def test_heads_lie_side_by_side_without_gaps() -> None:
    assert [head.labels for head in HEADS] == [KINDS, SENTIMENTS, URGENCIES, RUMOURS]
    assert SPANS.tolist() == [0, 7, 10, 14, 18]
    assert COLUMNS == 18
    assert HEAD["urgency"].columns == slice(10, 14)


def test_probabilities_sum_to_one_per_head_and_survive_large_logits() -> None:
    logits = np.random.RandomState(0).randn(20, COLUMNS).astype(np.float32) * 300
    scores = probabilities(logits)
    for head in HEADS:
        assert np.allclose(scores[:, head.columns].sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(chosen_labels(scores), chosen_labels(logits))


def test_best_score_is_the_chosen_labels() -> None:
    logits = np.zeros((1, COLUMNS), np.float32)
    logits[0, HEAD["rumour"].start + 2] = 5
    scores = probabilities(logits)
    assert chosen_labels(scores)[0, 3] == 2
    assert best_scores(scores)[0, 3] > 0.9
    assert best_scores(scores)[0, 0] == np.float32(1 / 7)
