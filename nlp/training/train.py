"""Train the annotator from labelled files; write the weights and the model card.

Cross-validation comes first: it gives the second stage scores of unseen texts, the figures on the
card, and the thresholds. Then the first stage learns from everything. Each fold has a teacher of
its own, which has not seen the fold's texts, and near-copies of them are not taught.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlp import weights as model_file
from nlp.errors import LabelledFileError
from nlp.heads import COLUMNS, HEAD, HEADS, best_scores, chosen_labels, probabilities
from nlp.kernel import Kernel, sketch_texts
from nlp.semantic import ENCODERS, Encoder
from nlp.training import metrics
from nlp.training.account import fit_account
from nlp.training.card import known_failures, write_card
from nlp.training.folds import assign_folds
from nlp.training.labelled import LICENCES, LabelledText, read_files
from nlp.training.semantic import encode_all, fit_blend, looked_at, save_blend
from nlp.training.stages import FirstStage, Labels, SecondStage, distil, fit_first, fit_second
from nlp.training.vocabulary import Features

FOLDS = 5
HELP_RECALL = 0.95
RELEVANT_RECALL = 0.97
NATURAL_PICKS = ("mixed", "random")  # ways of choosing posts that keep their natural proportion

Progress = Callable[[str], None]


def train_model(
    files: Sequence[Path],
    out: Path | None = None,
    *,
    corrections: Sequence[LabelledText] = (),
    encoder: Encoder | None = None,
    today: date | None = None,
    seed: int = 7,
    progress: Progress = lambda _: None,
) -> list[dict[str, Any]]:
    """Train from ``files``, write ``out`` (``.npz``, the shipped model by default) and
    ``MODEL_CARD.md`` beside it.

    Returns cross-validated rows ``set, head, accuracy, macro_f1, ece, n, half_interval, model``,
    ``set`` being ``real``, ``natural`` (real posts in natural proportion) or ``own``, and a row
    ``help`` each. ``corrections``: officers' labels to learn from beside the files
    (``nlp.training.corrections``). ``encoder``: also fit the second tier's blend of sentence
    vectors and write it beside as ``semantic.npz``. Same files, seed and machine give
    the same weights bit for bit; ``today`` (default: today in UTC) is only written down.

    Raises LabelledFileError for files that cannot be used.
    """
    out = model_file.shipped_path() if out is None else out
    today = datetime.now(UTC).date() if today is None else today
    rows = _once([*read_files(files, for_training=True), *corrections])
    if sum(row.guide for row in rows) < 50 * FOLDS:
        raise LabelledFileError(
            f"only {sum(row.guide for row in rows)} texts are labelled by the guide; "
            f"at least {50 * FOLDS} are needed, name more files"
        )
    progress(f"{len(rows)} texts read")
    texts = [row.text for row in rows]
    features = Features.of(texts)
    labels = Labels.of(rows)
    sketches, exacts, contents = sketch_texts(texts)
    fold = assign_folds(rows, features, sketches, exacts, contents, FOLDS, seed)

    guide = np.flatnonzero(labels.guide)
    part = fold[guide]
    everything = np.ones(len(rows), bool)
    teachers = []
    heard = np.zeros((len(guide), 2 * COLUMNS), np.float32)
    for k in range(FOLDS):
        teachers.append(fit_first(features, labels, fold != k, seed))
        heard[part == k] = teachers[k].scores(features, guide[part == k])
        progress(f"teacher {k + 1} of {FOLDS} done")
    unseen = np.zeros((len(guide), 2 * COLUMNS), np.float32)
    for k in range(FOLDS):
        mixing = fit_second(heard[part != k], labels, guide[part != k])
        said = _said(teachers[k], mixing, features)
        first = distil(teachers[k], features, labels, fold != k, said, seed)
        unseen[part == k] = first.scores(features, guide[part == k])
        progress(f"student {k + 1} of {FOLDS} done")
    scores = _unseen_probabilities(unseen, labels, guide, fold)
    second = fit_second(unseen, labels, guide)
    teacher = fit_first(features, labels, everything, seed)
    said = _said(teacher, fit_second(heard, labels, guide), features)
    first = distil(teacher, features, labels, everything, said, seed)
    progress("last fit done")

    card = _card(rows, labels, guide, scores, today, seed)
    card["account"] = fit_account(rows)
    card["vocabulary"], card["hidden"] = first.network.inputs.shape
    arrays = _fold_together(features, first, second)
    digest = hashlib.sha256(b"".join(a.tobytes() for a in arrays.values())).hexdigest()
    card["version"] = f"{today.isoformat()}-{digest[:8]}"
    if encoder is not None:
        vectors = encode_all(encoder, [texts[i] for i in guide], progress)
        blend = fit_blend(
            vectors,
            scores,
            labels.number[guide][:, : len(HEADS)],
            labels.own[guide],
            part,
            looked_at(scores, card["thresholds"]),
            ENCODERS[0],
        )
        save_blend(out.with_name("semantic.npz"), blend)
        card["semantic"] = blend.card
    model_file.save(out, arrays, card)
    write_card(out.with_name("MODEL_CARD.md"), card, known_failures(Kernel(model_file.load(out))))
    return _rows(card)


def _once(rows: Sequence[LabelledText]) -> list[LabelledText]:
    """Without unlabelled texts that another row holds as well."""
    seen = {row.text for row in rows if row.labels}
    kept: list[LabelledText] = []
    for row in rows:
        if row.labels or row.text not in seen:
            kept.append(row)
            seen.add(row.text)
    return kept


def _said(teacher: FirstStage, mixing: SecondStage, features: Features) -> NDArray[np.float32]:
    """Probabilities of every text, ``(texts, 18)``, by the teacher."""
    texts = np.arange(features.matrix.shape[0])
    return probabilities(mixing.logits(teacher.scores(features, texts)))


def _rows(card: dict[str, Any]) -> list[dict[str, Any]]:
    rows = [
        {"set": part, "head": head, **scores, "model": card["version"]}
        for part, heads in card["scores"].items()
        for head, scores in heads.items()
    ]
    rows += [
        {"set": p, "head": "help", **at, "model": card["version"]} for p, at in card["help"].items()
    ]
    return rows


def _unseen_probabilities(
    unseen: NDArray[np.float32],
    labels: Labels,
    guide: NDArray[np.int64],
    fold: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Probabilities of every guide text by stages that saw neither it nor its near-copies."""
    logits = np.zeros((len(guide), COLUMNS), np.float32)
    for k in range(FOLDS):
        inside = fold[guide] == k
        second = fit_second(unseen[~inside], labels, guide[~inside])
        logits[inside] = second.logits(unseen[inside])
    return probabilities(logits)


def _fold_together(
    features: Features, first: FirstStage, second: SecondStage
) -> dict[str, NDArray[Any]]:
    """Both stages as one set of tables, most frequent n-gram first (it stays in the cache)."""
    order = np.argsort(-features.texts_with[first.columns], kind="stable")
    linear_mixing, deep_mixing = second.mixing[:COLUMNS], second.mixing[COLUMNS:]
    hidden = first.network.inputs.shape[1]
    table = np.zeros((len(order), model_file.HIDDEN_AT + hidden), np.float32)
    table[:, :COLUMNS] = (first.linear * first.gram_weight[:, None]) @ linear_mixing
    table[:, model_file.NORM_AT] = first.gram_weight**2
    table[:, model_file.HIDDEN_AT :] = first.network.inputs
    bias = second.bias + first.bias @ linear_mixing + first.network.bias[:COLUMNS] @ deep_mixing
    return model_file.pack(
        features.keys[first.columns][order],
        table[order],
        first.network.hidden_bias,
        first.network.output[:, :COLUMNS] @ deep_mixing,
        bias,
    )


def _card(
    rows: Sequence[LabelledText],
    labels: Labels,
    guide: NDArray[np.int64],
    scores: NDArray[np.float32],
    today: date,
    seed: int,
) -> dict[str, Any]:
    truth = labels.number[guide][:, : len(HEADS)]
    own = labels.own[guide]
    pick = np.array([str(rows[i].raw.get("pick", "")) for i in guide])
    natural = np.isin(pick, NATURAL_PICKS)
    parts = {
        name: mask
        for name, mask in (("real", ~own), ("natural", natural), ("own", own))
        if mask.any()
    }
    kind = HEAD["kind"]
    is_help = truth[:, 0] == kind.labels.index("help")
    irrelevant = truth[:, 0] == kind.labels.index("irrelevant")
    help_score = scores[:, kind.start + kind.labels.index("help")]
    irrelevant_score = scores[:, kind.start + kind.labels.index("irrelevant")]
    right = chosen_labels(scores) == truth
    best = best_scores(scores)
    return {
        "trained_on": today.isoformat(),
        "seed": seed,
        "labels": {head.name: list(head.labels) for head in HEADS},
        "data": [
            {"set": name, "texts": count, "licence": _licence(name)}
            for name, count in sorted(Counter(row.set_name for row in rows).items())
        ],
        "folds": FOLDS,
        "scores": {
            part: {
                head.name: metrics.head_scores(scores[mask][:, head.columns], truth[mask, t])
                for t, head in enumerate(HEADS)
            }
            for part, mask in parts.items()
        },
        "by_pick": {
            name: {
                "n": int((pick == name).sum()),
                **{
                    head.name: round(float(right[pick == name, t].mean()), 4)
                    for t, head in enumerate(HEADS)
                },
            }
            for name in sorted(set(pick.tolist()) - {""})
        },
        "confusions": {
            part: {
                head.name: metrics.confusions(
                    truth[mask, t], scores[mask][:, head.columns].argmax(axis=1), head.labels
                )
                for t, head in enumerate(HEADS)
            }
            for part, mask in parts.items()
            if part != "natural"
        },
        "help": {
            part: metrics.precision_at_recall(help_score[mask], is_help[mask], HELP_RECALL)
            for part, mask in parts.items()
            if is_help[mask].any()
        },
        "curves": _curves(
            scores[~own],
            best[~own],
            right[~own],
            help_score[~own],
            is_help[~own],
            irrelevant[~own],
        ),
        "thresholds": {
            "unsure": {
                head.name: metrics.unsure_below(best[:, t], right[:, t])
                for t, head in enumerate(HEADS)
            },
            "irrelevant": metrics.highest_missing(
                irrelevant_score[~irrelevant], 1 - RELEVANT_RECALL
            ),
            "help": metrics.precision_at_recall(help_score, is_help, HELP_RECALL)["threshold"],
        },
    }


LEVELS = np.arange(0.05, 0.96, 0.05)


def _curves(
    scores: NDArray[np.float32],
    best: NDArray[np.float32],
    right: NDArray[np.bool_],
    help_score: NDArray[np.float32],
    is_help: NDArray[np.bool_],
    irrelevant: NDArray[np.bool_],
) -> dict[str, list[list[float]]]:
    """What each threshold gives on unseen real posts: ``[level, precision, recall, share]``.

    ``unsure.HEAD``: doubt below the level as a sign of a mistake; ``irrelevant``: passing (below
    the level) as a sign of relevance; ``help``: at or above the level as a sign of a help call.
    """
    if not len(scores):
        return {}
    found = {
        f"unsure.{head.name}": _below(best[:, t], ~right[:, t]) for t, head in enumerate(HEADS)
    }
    kind = HEAD["kind"]
    off_topic = scores[:, kind.start + kind.labels.index("irrelevant")]
    found["irrelevant"] = _below(off_topic, ~irrelevant)
    found["help"] = metrics.curve(help_score, is_help, LEVELS)
    return found


def _below(score: NDArray[np.float32], truth: NDArray[np.bool_]) -> list[list[float]]:
    turned = metrics.curve(1 - score, truth, 1 - LEVELS)
    return [[round(1 - level, 3), *rest] for level, *rest in turned]


def _licence(name: str) -> str:
    if name == "own":
        return "own writing, Apache-2.0, ships with the project"
    if name == "real":
        return "texts belong to their authors; not distributed"
    return LICENCES[name]
