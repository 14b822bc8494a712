"""Our way of reading beside what others use: same posts, same split, one run.

A fifth of the labelled texts, near-copies kept together, is held back from everybody. Compared are

- SnowNLP and cnsenti as they install, on questions about feeling only; the two cuts that make
  three classes of their score are fitted on texts of the training part;
- *usual*: jieba words, TF-IDF, logistic regression, one model per question;
- *done well*: character 1- to 3-grams and words, logarithmic counts, balanced classes;
- *ours*: linear and hidden layer over all questions together, mixed on unseen scores. The model
  that ships is a student of this one; its own figures stand on the model card.

Speed is that of answering, texts in, labels out, on one thread; *ours* answers all heads at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.svm import LinearSVC

from nlp.annotator import Annotator
from nlp.errors import LabelledFileError
from nlp.heads import HEAD
from nlp.kernel import sketch_texts
from nlp.training.folds import assign_folds
from nlp.training.labelled import SIDE_TASKS, TASKS, LabelledText, read_files
from nlp.training.network import joined, train_network
from nlp.training.vocabulary import Features, gram_weights, weighted

PARTS = 5
INNER = 3
ENOUGH = 50  # a question with fewer test texts gives no figure worth reading
SLOW_SAMPLE = 1_500  # SnowNLP and cnsenti read about 200 texts a second
HIDDEN = (45, 45, 45, 45)
BESIDE = 0.3  # weight of questions that only lend vocabulary
SCORED_FEELINGS = ("sentiment", "polarity")


@dataclass(frozen=True, slots=True)
class Question:
    """Texts with a known answer to one question. ``truth``: number of the label."""

    task: str
    texts: list[str]
    truth: NDArray[np.int64]
    test_texts: list[str]
    test_truth: NDArray[np.int64]
    real: NDArray[np.bool_]


def compare_with_peers(files: Sequence[Path], seed: int = 7) -> Iterator[dict[str, Any]]:
    """Rows ``task, posts, who, n, accuracy, macro_f1, posts_per_s`` (texts a second, one thread).

    Raises LabelledFileError, and ModuleNotFoundError where the peers are not installed (they
    come with the development requirements).
    """
    rows = read_files(files, for_training=False)
    rows = [row for row in rows if row.labels]
    if not any(row.guide for row in rows):
        raise LabelledFileError("no text is labelled by the guide; name a file that has some")
    features = Features.of([row.text for row in rows])
    part = _parts(rows, features, seed)
    test = part == 0
    for mains in (tuple(HEAD), *((task,) for task in SIDE_TASKS)):
        questions = [q for task in mains if (q := _question(rows, test, task))]
        if not questions:
            continue
        answers = _ours(rows, features, test, [q.task for q in questions], seed)
        for question in questions:
            for name, (said, speed) in _peers(question, seed).items():
                yield from _figures(question, name, said, speed)
            yield from _figures(question, "ours", answers[question.task], _our_speed(question))


def _parts(rows: Sequence[LabelledText], features: Features, seed: int) -> NDArray[np.int64]:
    texts = [row.text for row in rows]
    return assign_folds(rows, features, *sketch_texts(texts), PARTS, seed, everyone=True)


def _question(rows: Sequence[LabelledText], test: NDArray[np.bool_], task: str) -> Question | None:
    """SMP's emotions also say a sentiment; that trains nobody here, the guide's texts do."""
    asked = [i for i, r in enumerate(rows) if task in r.labels and (r.guide or task not in HEAD)]
    learn = [i for i in asked if not test[i]]
    judge = [i for i in asked if test[i]]
    if len(judge) < ENOUGH:
        return None
    return Question(
        task,
        [rows[i].text for i in learn],
        np.array([rows[i].labels[task] for i in learn]),
        [rows[i].text for i in judge],
        np.array([rows[i].labels[task] for i in judge]),
        np.array([not rows[i].own for i in judge]),
    )


def _figures(
    question: Question, who: str, said: NDArray[np.int64], speed: float
) -> Iterator[dict[str, Any]]:
    """``said`` may be shorter than the test texts: a slow peer reads the first of them only."""
    truth, real = question.test_truth[: len(said)], question.real[: len(said)]
    for posts, mask in (("real", real), ("own", ~real)):
        if mask.sum() < ENOUGH:
            continue
        yield {
            "task": question.task,
            "posts": posts,
            "who": who,
            "n": int(mask.sum()),
            "accuracy": round(float((said[mask] == truth[mask]).mean()), 3),
            "macro_f1": round(float(f1_score(truth[mask], said[mask], average="macro")), 3),
            "posts_per_s": round(speed),
        }


def _timed(answer: Callable[[], NDArray[np.int64]]) -> tuple[NDArray[np.int64], float]:
    began = time.perf_counter()
    said = answer()
    return said, len(said) / (time.perf_counter() - began)


def _peers(question: Question, seed: int) -> dict[str, tuple[NDArray[np.int64], float]]:
    import jieba

    jieba.setLogLevel("WARNING")
    jieba.initialize()
    said: dict[str, tuple[NDArray[np.int64], float]] = {}
    if question.task in SCORED_FEELINGS:
        for name, score in (("SnowNLP", _snownlp()), ("cnsenti", _cnsenti())):
            said[name] = _by_cuts(question, score, seed)
    words = TfidfVectorizer(tokenizer=jieba.lcut, token_pattern=None, lowercase=False)
    usual = make_pipeline(words, LogisticRegression(max_iter=1000))
    well = Pipeline(
        [
            ("grams", _grams_and_words(jieba.lcut)),
            ("model", LogisticRegression(C=10, max_iter=1000, class_weight="balanced")),
        ]
    )
    for name, model in (("jieba + TF-IDF + LR", usual), ("the same done well", well)):
        model.fit(question.texts, question.truth)
        said[name] = _timed(lambda model=model: model.predict(question.test_texts))  # type: ignore[misc]
    return said


def _grams_and_words(cut: Callable[[str], list[str]]) -> FeatureUnion:
    grams = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=3, sublinear_tf=True)
    words = TfidfVectorizer(
        tokenizer=cut, token_pattern=None, ngram_range=(1, 2), min_df=2, sublinear_tf=True
    )
    return FeatureUnion([("grams", grams), ("words", words)])


def _snownlp() -> Callable[[str], float]:
    from snownlp import SnowNLP

    return lambda text: float(SnowNLP(text).sentiments) if text.strip() else 0.5


def _cnsenti() -> Callable[[str], float]:
    from cnsenti import Sentiment

    reader = Sentiment()

    def score(text: str) -> float:
        counts = reader.sentiment_count(text)
        return float(counts["pos"] - counts["neg"])

    return score


def _by_cuts(
    question: Question, score: Callable[[str], float], seed: int
) -> tuple[NDArray[np.int64], float]:
    """Labels from a score by the cuts that give the best macro-F1 on some training texts."""
    labels = TASKS[question.task]
    low, high = (labels.index(name) for name in _ends(labels))
    middle = labels.index("neu") if "neu" in labels else None
    some = np.random.RandomState(seed).permutation(len(question.texts))[:SLOW_SAMPLE]
    learned = np.array([score(question.texts[i]) for i in some])
    truth = question.truth[some]

    def label(scores: NDArray[np.float64], below: float, above: float) -> NDArray[np.int64]:
        between = low if middle is None else middle
        return np.where(scores < below, low, np.where(scores > above, high, between))

    levels = np.unique(np.quantile(learned, np.linspace(0, 1, 31)))
    pairs = [(a, b) for a in levels for b in levels if a <= b and (middle is not None or a == b)]
    cuts = max(pairs, key=lambda ab: f1_score(truth, label(learned, *ab), average="macro"))

    def answer() -> NDArray[np.int64]:
        return label(np.array([score(t) for t in question.test_texts[:SLOW_SAMPLE]]), *cuts)

    return _timed(answer)


def _ends(labels: Sequence[str]) -> tuple[str, str]:
    return ("neg", "pos") if "neg" in labels else ("negative", "positive")


def _our_speed(question: Question) -> float:
    annotator = Annotator.load()
    texts = (question.test_texts * (20_000 // len(question.test_texts) + 1))[:20_000]
    annotator.score(texts[:100])
    return _timed(lambda: np.zeros(len(annotator.score(texts)), np.int64))[1]


def _ours(
    rows: Sequence[LabelledText],
    features: Features,
    test: NDArray[np.bool_],
    mains: Sequence[str],
    seed: int,
) -> dict[str, NDArray[np.int64]]:
    """Answers to ``mains`` for the test texts that have one, in the order of the rows."""
    tasks = list(mains) + [task for task in TASKS if task not in mains]
    number = np.array([[row.labels.get(task, -1) for task in tasks] for row in rows])
    asked = (number[:, : len(mains)] >= 0).all(axis=1)
    inner = np.random.RandomState(seed).randint(INNER, size=len(rows))
    learn = ~test
    known = np.flatnonzero(learn & asked)
    heard: NDArray[np.float64] | None = None
    for k in range(INNER):
        scores = _fit(features, number, tasks, len(mains), learn & (inner != k), seed)
        held = known[inner[known] == k]
        found = scores(held)
        heard = np.zeros((len(rows), found.shape[1])) if heard is None else heard
        heard[held] = found
    assert heard is not None
    judged = np.flatnonzero(test & asked)
    final = _fit(features, number, tasks, len(mains), learn, seed)(judged)
    answers: dict[str, NDArray[np.int64]] = {}
    for t, task in enumerate(mains):
        mixing = LogisticRegression(C=0.3, max_iter=2000).fit(heard[known], number[known, t])
        answers[task] = mixing.predict(final)
    return answers


def _fit(
    features: Features,
    number: NDArray[np.int64],
    tasks: Sequence[str],
    mains: int,
    train: NDArray[np.bool_],
    seed: int,
) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    """Both views of the main questions, as a function from rows to their scores side by side."""
    use = np.flatnonzero(train & (number >= 0).any(axis=1))
    gram_weight = gram_weights(features.texts_with, features.matrix.shape[0])
    spans = np.cumsum([0] + [len(TASKS[task]) for task in tasks]).astype(np.int64)
    targets = np.zeros((len(use), int(spans[-1])), np.float32)
    weights = np.zeros((len(use), len(tasks)), np.float32)
    linear: list[LinearSVC] = []
    for t, task in enumerate(tasks):
        known = np.flatnonzero(number[use, t] >= 0)
        truth = number[use[known], t]
        if not len(known):
            continue
        targets[known, spans[t] + truth] = 1
        share = np.bincount(truth, minlength=len(TASKS[task]))
        balance = np.sqrt(len(truth) / (len(share) * np.maximum(share, 1)))[truth]
        weights[known, t] = balance / balance.mean() * (1 if t < mains else BESIDE)
        if t < mains:
            model = LinearSVC(C=0.25, tol=0.01, class_weight="balanced", random_state=seed)
            linear.append(model.fit(weighted(features.matrix[use[known]], gram_weight), truth))
    network = joined(
        [
            train_network(features.matrix[use], targets, weights, spans, width, seed + i)
            for i, width in enumerate(HIDDEN)
        ]
    )

    def scores(at: NDArray[np.int64]) -> NDArray[np.float64]:
        matrix = features.matrix[at].tocsr()
        flat = weighted(matrix, gram_weight)
        views = [np.atleast_2d(m.decision_function(flat).T).T for m in linear]
        return np.hstack([*views, network.logits(matrix)[:, : int(spans[mains])]])

    return scores
