"""The model card, written by the training command and by nobody else."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from nlp.heads import HEADS, chosen_labels, probabilities
from nlp.kernel import Kernel
from nlp.levels import at_level
from nlp.training.labelled import LabelledText, read_files

_PARTS = {
    "real": "real posts",
    "natural": "real posts in natural proportion",
    "own": "our own writing",
}

_ERRORS = """\
Eighty confident mistakes of the model of 2026-11-24, read and sorted by cause:

- **No cue in the letters.** What happened must be pictured: a cab crushed with its driver inside,
  a cellar filling while nobody answers. Read as damage, not as a call, where nobody says "help".
- **Anger about authorities in everyday words** (a slope reported three times, a lid missing), read
  as damage or as talk; the bureau or the forecast is not named.
- **Damage told as an anecdote, or an anecdote told as damage**: thanks years later, a cat and the
  thunder, water carts after a week without water.
- **Very short texts**, where one word decides and both readings are fair.
- **Figures of speech with no other company**: a property market in winter, applause like thunder.
- **Offers without a thank-you** ("I have a boat"), advice, and calls that forward an offer.
- **The label itself is open**, mostly talk against irrelevant and talk against service; a second
  reading by a person agrees with the first in 94 of 100 real posts.
"""

_LIMITS = """\
## What it is for

It sorts posts for a duty officer. Every label is a machine's reading and shows the words that
weighed; it is never a verdict. `rumour` says "there is a claim to check", never "this is false".
A text decides alone: the model sees neither pictures nor the account nor what is replied to.

## Limits

- The real posts come mostly from two events (Beijing 2020, Henan 2021). Another kind of event, a
  dialect or a new way of speaking lowers every figure; look at the share of *unsure*.
- Rumour is written style: a calm sentence that states a falsehood without hearsay looks like news,
  and a first-hand report that begins with "I heard" looks like a rumour.
- Irony is read as what it says. Metaphors and fan texts about rain, heat, floods or storms are
  told apart by their company only.
- Questions and denials are rare among real posts (85 and 182): their figures swing.
- Only the first 2,000 characters of a text are read.
- Cross-validation keeps near-copies together, and our own texts on one matter; it does not hold
  out whole events, so figures under a new event are lower.
"""


def hard_examples() -> list[LabelledText]:
    """A few texts of our own writing that are meant to be difficult. Never trained on."""
    path = Path(str(files("nlp.training") / "corpus" / "hard.jsonl"))
    return read_files([path], for_training=False)


def known_failures(kernel: Kernel) -> list[str]:
    """The hard examples that this model gets wrong, a line each."""
    rows = hard_examples()
    chosen = chosen_labels(probabilities(kernel.score([row.text for row in rows])[0]))
    lines: list[str] = []
    for row, numbers in zip(rows, chosen.tolist(), strict=True):
        wrong = [
            f"{head.name} {head.labels[n]}, should be {head.labels[row.labels[head.name]]}"
            for head, n in zip(HEADS, numbers, strict=True)
            if n != row.labels[head.name]
        ]
        if wrong:
            lines.append(f"- {row.text} — {'; '.join(wrong)}")
    return lines


def _thresholds(card: dict[str, Any]) -> list[str]:
    """What each threshold gives on real posts that the model had not seen."""
    curves = card.get("curves")
    if not curves:
        return []
    given = card["thresholds"]
    levels = {f"unsure.{name}": (f"{name} unsure below", p) for name, p in given["unsure"].items()}
    levels["irrelevant"] = ("relevant: P(irrelevant) below", given["irrelevant"])
    levels["help"] = ("help from", given["help"])
    rows = []
    for name, (said, level) in levels.items():
        found = at_level(curves.get(name, []), level)
        cells = " | ".join("" if value is None else f"{value:.3f}" for value in found)
        rows.append(f"| {said} | {level:.3f} | {cells} |")
    return [
        "## Thresholds",
        "",
        "On real posts, in cross-validation: precision and recall of *unsure* as a sign of a",
        "mistake, of passing as a sign of relevance, of *help* as a sign of a call; and the share",
        "of posts. 19 levels of each are on the card inside the model; all are settings.",
        "",
        "| threshold | level | precision | recall | share |",
        "| --- | ---: | ---: | ---: | ---: |",
        *rows,
        "",
    ]


def _parts(scored: dict[str, Any]) -> list[str]:
    """The sets that were scored, in the order in which the card tells of them."""
    return [part for part in _PARTS if part in scored]


def _by_pick(card: dict[str, Any]) -> list[str]:
    """Accuracy by the reason a real post was chosen; most were chosen because they are hard."""
    if not card["by_pick"]:
        return []
    names = [head.name for head in HEADS]
    return [
        "",
        "Accuracy by why a real post was chosen to be labelled; `mixed` and `random` keep the",
        "natural proportion, the others were sought because a first model failed on them or their",
        "class is rare.",
        "",
        f"| pick | n | {' | '.join(names)} |",
        f"| --- | ---: |{' ---: |' * len(names)}",
        *(
            f"| {pick} | {at['n']:,} | {' | '.join(f'{at[name]:.3f}' for name in names)} |"
            for pick, at in card["by_pick"].items()
        ),
    ]


def _confusions(card: dict[str, Any]) -> list[str]:
    lines = [
        "## What it confuses",
        "",
        "The commonest mistakes in cross-validation: what the post is → what the model said.",
        "",
        "| head | set | mistakes |",
        "| --- | --- | --- |",
    ]
    for head in HEADS:
        for part in _parts(card["confusions"]):
            mistakes = "; ".join(
                f"{is_} → {said} {count} of {of_label:,}"
                for is_, said, count, of_label in card["confusions"][part][head.name]
            )
            lines.append(f"| {head.name} | {_PARTS[part]} | {mistakes} |")
    return [*lines, ""]


def _adapted(card: dict[str, Any]) -> list[str]:
    """A model that officers' corrections moved: what follows is about the one it came from."""
    moved = card.get("adapted")
    if not moved:
        return []
    counts = ", ".join(f"{head} {n}" for head, n in moved["corrections"].items())
    return [
        f"**Moved from `{moved['from']}` by officers' corrections** ({counts}); the scores below",
        "are that model's. Compare them with `tingfeng evaluate --challenger`.",
        "",
    ]


def _second_tier(card: dict[str, Any]) -> list[str]:
    """What the account and, where it was fitted, the sentence encoder add."""
    lines: list[str] = []
    if account := card.get("account"):
        lines += [
            "## Second tier: the account",
            "",
            f"Fitted on {account['posts']:,} CED posts; measured on the latest three tenths,",
            "fitted on the earlier: rumour or not, text alone → text and account: accuracy "
            f"{account['text']['accuracy']:.3f} → {account['text_and_account']['accuracy']:.3f},",
            f"macro-F1 {account['text']['macro_f1']:.3f} → "
            f"{account['text_and_account']['macro_f1']:.3f}. Weights in logits: "
            + ", ".join(
                f"{name} {weight:+.2f}"
                for name, weight in zip(account["features"], account["weight"], strict=True)
            )
            + ".",
            "",
        ]
    if semantic := card.get("semantic"):
        lines += [
            "## Second tier: sentence vectors (optional, off by default)",
            "",
            f"`{semantic['encoder']}`, on the {semantic['looked_at']:.0%} of texts that are unsure "
            "or flagged (cascade), or on all.",
            "",
            "| set | head | first tier | cascade | all |",
            "| --- | --- | ---: | ---: | ---: |",
        ]
        for part, ways in semantic["scores"].items():
            for head in ("sentiment", "rumour"):
                cells = (
                    f"{ways[way][head]['accuracy']:.3f}/{ways[way][head]['macro_f1']:.3f}"
                    for way in ("first", "cascade", "all")
                )
                lines.append(f"| {_PARTS[part]} | {head} | " + " | ".join(cells) + " |")
            cells = (f"{ways[way]['help']['precision']:.3f}" for way in ("first", "cascade", "all"))
            lines.append(
                f"| {_PARTS[part]} | help, precision at recall .95 | " + " | ".join(cells) + " |"
            )
        lines.append("")
    return lines


def write_card(path: Path, card: dict[str, Any], failures: list[str] | None = None) -> None:
    """Write ``MODEL_CARD.md``. ``failures``: lines on hard examples that the model gets wrong."""
    lines = [
        "# The annotator's model",
        "",
        f"Version `{card['version']}`, trained on {card['trained_on']}, seed {card['seed']}.",
        "Made by `tingfeng train`; do not edit by hand.",
        "",
        f"A shared vocabulary of {card['vocabulary']:,} hashed character 1- to 3-grams; balanced",
        f"linear support vectors and one hidden layer of {card['hidden']} units, mixed by a",
        "logistic regression per head, fitted on scores of texts the first stage had not seen.",
        "The hidden layer is a student: beside people's labels it learns what a teacher, the mean",
        "of four networks and the linear view, makes of texts that nobody labelled by the guide.",
        "",
        *_adapted(card),
        "## Data",
        "",
        "| set | texts | licence |",
        "| --- | ---: | --- |",
        *(f"| {d['set']} | {d['texts']:,} | {d['licence']} |" for d in card["data"]),
        "",
        "`real` and `own` are labelled by the guide in `docs/annotation.md`. The other sets lend",
        "the hidden layer vocabulary through tasks of their own; SMP emotions also train",
        "sentiment, at a weight of .2. `unlabelled` posts, and those of the other sets except SMP,",
        "carry the teacher's soft labels. Nothing is trained on `weibo21`.",
        "",
        "Real posts whose `pick` is `unsure` were drawn by an earlier model's doubt and read once",
        "each by a language model that followed the guide; 800 posts with known labels were hidden",
        "among them (agreement .916 kind, .906 sentiment, .868 urgency, .943 rumour). Their texts",
        "stand in a public collection, their labels in `nlp/training/corpus`.",
        "",
        f"## Scores, {card['folds']}-fold cross-validation",
        "",
        "Accuracy with the half width of its 95 % interval, macro-F1, expected calibration error.",
        "",
        "| head | set | n | accuracy | macro-F1 | ECE |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for head in HEADS:
        for part in _parts(card["scores"]):
            s = card["scores"][part][head.name]
            lines.append(
                f"| {head.name} | {_PARTS[part]} | {s['n']:,} | {s['accuracy']:.3f} "
                f"±{s['half_interval']:.3f} | {s['macro_f1']:.3f} | {s['ece']:.3f} |"
            )
    lines += _by_pick(card)
    lines += ["", "Help calls, at the threshold that finds 95 % of them:", ""]
    for part in _parts(card["help"]):
        at = card["help"][part]
        lines.append(
            f"- {_PARTS[part]}: precision {at['precision']:.3f} at recall {at['recall']:.3f} "
            f"(P(help) ≥ {at['threshold']:.3f})"
        )
    unsure = ", ".join(f"{name} < {p:.2f}" for name, p in card["thresholds"]["unsure"].items())
    lines += ["", f"A head answers *unsure* below: {unsure}.", ""]
    lines += [*_thresholds(card), *_second_tier(card), *_confusions(card), _ERRORS, _LIMITS]
    if failures is not None:
        lines += ["## Known failures, on examples of our own writing", "", *failures, ""]
    path.write_text("\n".join(lines), encoding="utf-8")
