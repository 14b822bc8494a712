"""The annotator as people want it now: their model, their claims, taken up while a worker runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog

from nlp.errors import ModelMissing, ModelUnreadable
from nlp.types import Annotation
from pipeline import claim_thresholds
from pipeline.desk import claims, models

if TYPE_CHECKING:
    from nlp.annotator import Annotator
    from nlp.claims import KnownClaim
    from pipeline.app import App

log = structlog.get_logger("annotator")

LOOK_EVERY_S = 5.0


class CurrentAnnotator:
    """Looks every few seconds whether another model or another claim is to be used.

    A chosen model that cannot be read is replaced by the shipped one; ``problem`` says so, for
    the board. ``load``: given the name of a model, the annotator. Not for several threads.
    """

    def __init__(self, app: App, *, seconds: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._seconds = seconds
        self.problem = ""
        self._mark = self._look()
        self._looked = seconds()
        self._annotator = self._load()

    @property
    def model_version(self) -> str:
        return self._annotator.model_version

    @property
    def card(self) -> dict[str, Any]:
        """The card of the model at work."""
        return self._annotator.card

    @property
    def levels(self) -> dict[str, float]:
        """The thresholds in force."""
        return self._annotator.levels

    @property
    def claims(self) -> list[KnownClaim]:
        """The claims texts are compared with."""
        return self._known

    def annotate(
        self,
        texts: Sequence[str],
        *,
        place_hints: Sequence[str | None] | None = None,
        published: Sequence[datetime | None] | None = None,
        reasons: bool = True,
    ) -> list[Annotation]:
        """As ``nlp.annotator.Annotator.annotate``; one batch is judged by one model."""
        self.refresh()
        return self._annotator.annotate(
            texts, place_hints=place_hints, published=published, reasons=reasons
        )

    def refresh(self) -> None:
        """Take up what people changed, at most once every ``LOOK_EVERY_S`` seconds."""
        if self._seconds() - self._looked < LOOK_EVERY_S:
            return
        self._looked = self._seconds()
        mark = self._look()
        if mark[0] != self._mark[0]:
            self._annotator = self._load()
        elif mark != self._mark:
            self._use_claims(self._annotator)
        self._mark = mark

    def _look(self) -> tuple[Any, ...]:
        """(the model chosen and its file, the ids of the active claims, when thresholds were
        measured)."""
        app = self._app
        with app.store.read() as conn:
            ids = claims.active_ids(conn, app.now())
            choice, name = models.last_choice(conn), models.in_use(conn)
        file = models.mark_of(app.settings.models_dir, name)
        return (choice, file), ids, claim_thresholds.mark_of(app.settings)

    def _use_claims(self, annotator: Annotator) -> None:
        """Claims alone are taken up without loading the model anew."""
        thresholds = claim_thresholds.in_force(self._app.settings).thresholds
        self._known = self._app.known_claims()
        annotator.use_claims(self._known, thresholds)

    def _load(self) -> Annotator:
        from nlp.annotator import Annotator  # numba: 100 MB that most processes can do without

        with self._app.store.read() as conn:
            name = models.in_use(conn)
        path = models.model_path(self._app.settings.models_dir, name)
        typed = self._app.settings.thresholds
        levels = {name: v for name, v in typed.items() if not name.startswith("claims.")}
        self.problem = ""
        try:
            annotator = Annotator.load(path, (), levels)
        except (ModelMissing, ModelUnreadable) as error:
            if name == models.SHIPPED:
                raise
            log.error("chosen model cannot be used, the shipped one judges", error=str(error))
            self.problem = f"启用的模型 {name} 无法读取，暂用随系统发布的模型"
            annotator = Annotator.load(None, (), levels)
        self._use_claims(annotator)
        log.info("annotator loaded", model=annotator.model_version)
        return annotator
