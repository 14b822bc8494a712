"""The two stages of a fit, done twice: by a teacher, then by the student that ships.

First stage, two views of a text over the same pruned vocabulary: balanced linear support vectors
per head, and the hidden layer trained on all tasks. Pruning comes before both: an n-gram stays for
the largest weight any head gives it, times the square root of how many texts hold it; everything
is fitted again on what stays.

Second stage: a logistic regression per head over the scores of *all* heads from both views, fitted
on scores of texts that the first stage had not seen. It lets heads inform one another (a help call
is rarely cheerful) and gives probabilities that mean what they say. Being linear in the scores,
it folds into the first stage's weights, so that serving pays nothing for it.

The teacher learns from people's labels alone and then says what it makes of the texts that nobody
labelled by the guide. The student keeps the teacher's linear view; its hidden layer learns people's
labels where there are any and the teacher's probabilities elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from nlp.heads import COLUMNS, HEADS
from nlp.training.labelled import TASKS, LabelledText
from nlp.training.network import Network, joined, train_network
from nlp.training.vocabulary import Features, gram_weights, weighted

VOCABULARY = 64_000
PENALTY = 0.25  # LinearSVC's C
STACK_PENALTY = 0.3
THREADS = 2
TEACHER_HIDDEN = (45, 45, 45, 45)  # units of each network; their mean teaches
STUDENT_HIDDEN = (45, 45, 45)  # side by side they are the hidden layer that ships
SIDE_WEIGHT = 0.2
OWN_WEIGHT = 2.0  # our own texts speak as Nanning does, and are fewer than the real ones
CORRECTED_WEIGHT = 2.0  # an officer looked at exactly this post, because the machine was wrong
BALANCE = 0.5  # exponent of the class weights in the hidden layer; 1 = fully balanced

UNLABELLED_WEIGHT = 1.0  # of the teacher's word on a text with no label of any kind
TAUGHT_SIDE_WEIGHT = 0.5  # of its word on a text of a public set
UNTAUGHT = frozenset({"smp2020_usual", "smp2020_virus"})  # everyday texts, hardly any weather

TASK_SPANS = np.cumsum([0] + [len(labels) for labels in TASKS.values()]).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Labels:
    """``number`` (texts, tasks), -1 = unknown; ``weight`` (texts,); ``guide``, ``own`` (texts,);
    ``taught`` (texts,): weight of the teacher's word where there is no label by the guide."""

    number: NDArray[np.int64]
    weight: NDArray[np.float64]
    guide: NDArray[np.bool_]
    own: NDArray[np.bool_]
    taught: NDArray[np.float32]

    @classmethod
    def of(cls, rows: Sequence[LabelledText]) -> Labels:
        number = np.full((len(rows), len(TASKS)), -1, np.int64)
        for i, row in enumerate(rows):
            for t, task in enumerate(TASKS):
                number[i, t] = row.labels.get(task, -1)
        guide = np.array([row.guide for row in rows])
        own = np.array([row.own for row in rows])
        weight = np.where(own, OWN_WEIGHT, np.where(guide, 1.0, SIDE_WEIGHT))
        weight[[row.set_name == "corrections" for row in rows]] = CORRECTED_WEIGHT
        taught = np.array([_taught_weight(row) for row in rows], np.float32)
        return cls(number, weight, guide, own, taught)


def _taught_weight(row: LabelledText) -> float:
    if row.guide or row.set_name in UNTAUGHT:
        return 0.0
    return TAUGHT_SIDE_WEIGHT if row.labels else UNLABELLED_WEIGHT


@dataclass(frozen=True, slots=True)
class FirstStage:
    """``columns``: which n-grams of the features stay; ``linear`` (V, 18), ``bias`` (18,)."""

    columns: NDArray[np.int64]
    gram_weight: NDArray[np.float32]
    linear: NDArray[np.float32]
    bias: NDArray[np.float32]
    network: Network

    def scores(self, features: Features, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Both views of some texts side by side, ``(rows, 36)``."""
        matrix = features.matrix[rows][:, self.columns].tocsr()
        flat = np.asarray(weighted(matrix, self.gram_weight) @ self.linear + self.bias, np.float32)
        return np.hstack([flat, self.network.logits(matrix)[:, :COLUMNS]])


@dataclass(frozen=True, slots=True)
class SecondStage:
    """``mixing`` (36, 18), ``bias`` (18,): scores of both views to logits."""

    mixing: NDArray[np.float32]
    bias: NDArray[np.float32]

    def logits(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(scores @ self.mixing + self.bias, np.float32)


def fit_first(
    features: Features, labels: Labels, train: NDArray[np.bool_], seed: int
) -> FirstStage:
    """The teacher: prune, fit again, both views. ``train``: which texts may be learned from."""
    guide = np.flatnonzero(train & labels.guide)
    full = gram_weights(features.texts_with, features.matrix.shape[0])
    rough, _ = _fit_linear(weighted(features.matrix[guide], full), labels, guide, seed)
    strength = np.abs(rough) / np.sqrt((rough**2).mean(axis=0))
    worth = strength.max(axis=1) * np.sqrt(np.minimum(features.texts_with, 200))
    columns = np.sort(np.argsort(-worth, kind="stable")[:VOCABULARY]).astype(np.int64)

    kept = features.only(columns)
    weights = gram_weights(kept.texts_with, kept.matrix.shape[0])
    rows = np.flatnonzero(train & (labels.number >= 0).any(axis=1))
    linear, bias = _fit_linear(weighted(kept.matrix[rows], weights), labels, rows, seed)
    network = _networks(
        kept.matrix[rows],
        _targets(labels, rows),
        _network_weights(labels, rows),
        TEACHER_HIDDEN,
        seed,
    )
    return FirstStage(columns, weights, linear, bias, network)


def distil(
    teacher: FirstStage,
    features: Features,
    labels: Labels,
    train: NDArray[np.bool_],
    said: NDArray[np.float32],
    seed: int,
) -> FirstStage:
    """The student. ``said`` (texts, 18): the teacher's probabilities, read where a text has no
    label by the guide and ``train`` allows it."""
    rows = np.flatnonzero(train)
    targets, weights = _targets(labels, rows), _network_weights(labels, rows)
    for t, head in enumerate(HEADS):
        open_ = (labels.number[rows, t] < 0) & (labels.taught[rows] > 0)
        targets[open_, head.columns] = said[rows[open_], head.columns]
        weights[open_, t] = labels.taught[rows[open_]]
    matrix = features.matrix[rows][:, teacher.columns].tocsr()
    return replace(teacher, network=_networks(matrix, targets, weights, STUDENT_HIDDEN, seed + 100))


def _networks(
    matrix: Any,
    targets: NDArray[np.float32],
    weights: NDArray[np.float32],
    hidden: Sequence[int],
    seed: int,
) -> Network:
    """Each has its own seed and its own generator, so that two at a time change nothing."""
    with ThreadPoolExecutor(THREADS) as pool:
        fits = [
            pool.submit(train_network, matrix, targets, weights, TASK_SPANS, units, seed + i)
            for i, units in enumerate(hidden)
        ]
        return joined([fit.result() for fit in fits])


def _targets(labels: Labels, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    targets = np.zeros((len(rows), int(TASK_SPANS[-1])), np.float32)
    for t in range(len(TASKS)):
        known = np.flatnonzero(labels.number[rows, t] >= 0)
        targets[known, TASK_SPANS[t] + labels.number[rows[known], t]] = 1
    return targets


def _fit_linear(
    matrix: Any, labels: Labels, rows: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    weights = np.zeros((matrix.shape[1], COLUMNS), np.float32)
    bias = np.zeros(COLUMNS, np.float32)
    for t, head in enumerate(HEADS):
        known = labels.number[rows, t] >= 0
        truth = labels.number[rows[known], t]
        weight = labels.weight[rows[known]]
        share = np.bincount(truth, weight, len(head.labels))
        balance = weight.sum() / (len(head.labels) * np.maximum(share, 1e-9))
        model = LinearSVC(C=PENALTY, tol=0.01, random_state=seed)
        model.fit(matrix[known], truth, sample_weight=weight * balance[truth])
        if len(model.classes_) != len(head.labels):
            raise ValueError(f"some label of {head.name} has no text; add texts that show it")
        weights[:, head.columns] = model.coef_.T
        bias[head.columns] = model.intercept_
    return weights, bias


def _network_weights(labels: Labels, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    weights = np.zeros((len(rows), len(TASKS)), np.float32)
    for t, task in enumerate(TASKS):
        truth = labels.number[rows, t]
        known = truth >= 0
        if not known.any():
            continue
        share = np.bincount(truth[known], minlength=len(TASKS[task])).astype(float)
        balance = (share.sum() / (len(share) * np.maximum(share, 1))) ** BALANCE
        weight = balance[truth[known]]
        weights[known, t] = weight / weight.mean() * labels.weight[rows[known]]
    return weights


def fit_second(scores: NDArray[np.float32], labels: Labels, rows: NDArray[np.int64]) -> SecondStage:
    """``scores`` (rows, 36) must come from first stages that had not seen those rows."""
    mixing = np.zeros((scores.shape[1], COLUMNS), np.float32)
    bias = np.zeros(COLUMNS, np.float32)
    spread = scores.std(axis=0) + 1e-6  # equal spread first: the fit converges in few steps
    for t, head in enumerate(HEADS):
        model = LogisticRegression(C=STACK_PENALTY, max_iter=1000)
        model.fit(scores / spread, labels.number[rows, t])
        mixing[:, head.columns] = model.coef_.T / spread[:, None]
        bias[head.columns] = model.intercept_
    return SecondStage(mixing, bias)
