"""``tingfeng model`` and training from corrections: a challenger, its measure, its use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select

from nlp import weights
from nlp.training.adapt import adapt_model
from nlp.training.challenge import compare_models
from nlp.training.corrections import CorrectedText, no_copies, split
from nlp.training.labelled import LabelledText
from nlp.training.train import train_model
from pipeline.app import App
from pipeline.desk import labels, models
from pipeline.domain.corrections import Standing, standing
from pipeline.domain.rights import Actor, Role
from pipeline.errors import SettingsError
from pipeline.index.base import Query
from pipeline.store import tables as t

SEED = 7  # decides which corrections are held back; the same whenever it is asked
ORDINARY = 3_000


def train_challenger(app: App, files: Sequence[Path], seed: int = SEED) -> list[dict[str, Any]]:
    """A model in the data folder that judges nothing yet, and how it compares.

    ``files``: train anew from these and the corrections; none: move the model in use. First row:
    ``challenger, learned, held_back, spot_checks``; then the rows of ``nlp.training.challenge``.
    Raises: LabelledFileError.
    """
    words = _standing(app)
    learn, held, checked = _sides(words)
    folder = app.settings.models_dir
    if files:
        draft = folder / "training" / "annotator.npz"  # not among the models until it is whole
        train_model(files, draft, corrections=learn, seed=seed)
        out = folder / f"{weights.read_card(draft)['version']}.npz"
        draft.replace(out)
        draft.with_name("MODEL_CARD.md").replace(out.with_suffix(".md"))
        draft.parent.rmdir()
    else:
        # what people corrected, or differ on, must not be held to the machine's reading of it
        ordinary = no_copies(_ordinary(app), [stands.text for stands in words])
        out = adapt_model(learn, ordinary, folder, champion=_champion(app), seed=seed)
    made = {"challenger": out.stem, "learned": len(learn), "held_back": len(held)}
    return [made | {"spot_checks": len(checked)}, *compare(app, out.stem, [])]


def compare(app: App, version: str, files: Sequence[Path]) -> list[dict[str, Any]]:
    """The model in use beside another; kept, so that whoever decides sees it on the page.

    Raises: ModelMissing, LabelledFileError.
    """
    path = models.model_path(app.settings.models_dir, version)
    _, held, checked = _sides(_standing(app))
    rows = compare_models(
        _champion(app), path, files, held, checked=checked, ordinary=_ordinary(app)
    )
    with app.store.read() as conn:
        used = models.in_use(conn)
    models.keep_comparison(app.settings.models_dir, version, used, rows, app.now())
    return rows


def listed(app: App) -> Iterator[dict[str, Any]]:
    """Every model of the folder and the shipped one."""
    with app.store.read() as conn:
        used = models.in_use(conn)
    for found in models.list_models(app.settings.models_dir):
        yield {
            "model": found.name or "shipped",
            "version": found.version,
            "in_use": found.name == used,
            "trained_on": found.trained_on,
            "problem": found.problem,
        }


def use(app: App, name: str, by: str, reason: str) -> str:
    """Put a model to work in somebody's name; returns its name. Raises: DeskError."""
    name = models.SHIPPED if name == "shipped" else name
    with app.store.begin(app.now()) as tx:
        models.use_model(tx, _person(app, by), app.settings.models_dir, name, reason)
    return name or "shipped"


def back(app: App, by: str, reason: str) -> str:
    """Return to the model before; returns its name. Raises: DeskError."""
    with app.store.begin(app.now()) as tx:
        return models.back(tx, _person(app, by), app.settings.models_dir, reason) or "shipped"


def _person(app: App, name: str) -> Actor:
    with app.store.read() as conn:
        row = conn.execute(select(t.users).where(t.users.c.name == name)).mappings().first()
    if row is None or row["disabled"]:
        raise SettingsError(f"no active account {name!r}; a model is put to work by a person")
    return Actor(row["id"], row["display"], Role(row["role"]), row["office"], origin="console")


def _champion(app: App) -> Path:
    with app.store.read() as conn:
        return models.model_path(app.settings.models_dir, models.in_use(conn))


def _standing(app: App) -> list[Standing]:
    with app.store.read() as conn:
        return standing(labels.corrections(conn))


def _sides(
    words: Sequence[Standing],
) -> tuple[list[LabelledText], list[LabelledText], list[LabelledText]]:
    """What people agree on, by post: to learn from, held back, spot checks."""
    agreed: dict[str, dict[str, str]] = defaultdict(dict)
    texts: dict[str, str] = {}
    drawn: set[str] = set()
    for stands in words:
        if stands.drawn:
            drawn.add(stands.post_id)
        if stands.label is not None:
            agreed[stands.post_id][stands.head] = stands.label
            texts[stands.post_id] = stands.text
    return split(
        [CorrectedText(texts[post], said, post in drawn) for post, said in agreed.items()], SEED
    )


def _ordinary(app: App) -> list[str]:
    """Texts of the newest posts, each once."""
    seen: dict[str, None] = {}
    for hit in app.index.scan(Query()):
        seen[hit.item.post.full_text] = None
        if len(seen) == ORDINARY:
            break
    return list(seen)
