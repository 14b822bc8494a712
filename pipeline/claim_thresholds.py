"""The thresholds of claim matching that ``tingfeng claims calibrate`` measured, kept in the folder.

Without the file the shipped ones hold. The figures beside the thresholds say how well they did on
which number of claims. A setting wins over both, and then nothing is known about how well it does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path

import structlog

from nlp.claim_calibration import Calibration
from nlp.claims import Thresholds
from pipeline.errors import SettingsError
from pipeline.settings import Settings

log = structlog.get_logger("claims")

SHIPPED_CLAIMS = 80
"""Claims on which the shipped thresholds were set."""
SHIPPED_FIGURES = {
    "first_right": 0.93,
    "false_per_200": 0.82,
    "confirm_precision": 1.0,
    "confirm_recall": 0.978,
}
"""As measured in docs/claims.md: held-out posts, a real stream, copies in chatter."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What stands in the file. ``claims``: active ones at the time; ``figures``: measured then,
    as ``nlp.claim_calibration.Calibration`` names them; ``typed``: the setting holds instead."""

    thresholds: Thresholds
    claims: int
    at: datetime | None = None
    figures: Mapping[str, float] = field(default_factory=lambda: SHIPPED_FIGURES)
    typed: bool = False


def path_of(settings: Settings) -> Path:
    return settings.home / "claim_thresholds.json"


def load(settings: Settings) -> Kept:
    """The kept thresholds, or the shipped ones.

    Raises: SettingsError for a file that is none of ours: guessing would join wrong posts.
    """
    path = path_of(settings)
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        thresholds = Thresholds(float(body["suggest"]), float(body["confirm"]))
        if not 0 < thresholds.suggest <= thresholds.confirm <= 1:
            raise ValueError("suggest and confirm must be 0 < suggest <= confirm <= 1")
        figures = {name: float(body[name]) for name in SHIPPED_FIGURES if name in body}
        at = datetime.fromisoformat(body["at"])
        return Kept(thresholds, int(body["claims"]), at, figures)
    except FileNotFoundError:
        return Kept(Thresholds(), SHIPPED_CLAIMS)
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"{path} cannot be read ({error}); run tingfeng claims calibrate, or remove it"
        ) from error


def load_or_shipped(settings: Settings) -> Kept:
    """As ``load``, for a running worker: a damaged file is logged, the shipped ones hold."""
    try:
        return load(settings)
    except SettingsError as error:
        log.error("claim thresholds cannot be read, the shipped ones hold", error=str(error))
        return Kept(Thresholds(), SHIPPED_CLAIMS)


def in_force(settings: Settings) -> Kept:
    """As ``load_or_shipped``, unless ``thresholds`` of the settings names other ones."""
    kept = load_or_shipped(settings)
    typed = settings.thresholds
    suggest = typed.get("claims.suggest", kept.thresholds.suggest)
    confirm = typed.get("claims.confirm", kept.thresholds.confirm)
    if (suggest, confirm) == (kept.thresholds.suggest, kept.thresholds.confirm):
        return kept
    # whoever raises one over the other means to see fewer, not to join more
    return replace(kept, thresholds=Thresholds(suggest, max(suggest, confirm)), typed=True)


def mark_of(settings: Settings) -> int:
    """Changes when other thresholds are written; 0 without a file."""
    try:
        return path_of(settings).stat().st_mtime_ns
    except OSError:
        return 0


def save(settings: Settings, found: Calibration, now: datetime) -> Path:
    """Write the file whole or not at all; a running annotator takes it up by itself."""
    path = path_of(settings)
    figures = asdict(found)
    body = {**figures.pop("thresholds"), **figures, "at": now.isoformat()}
    settings.home.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(json.dumps(body, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    new.replace(path)
    return path
