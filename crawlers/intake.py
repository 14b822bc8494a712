"""Where crawlers hand over: two protocols that the application fulfils.

Crawlers know neither bus nor database. What is handed in may arrive twice; the door sorts it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from crawlers.health import SourceRun
from pipeline.domain.claim_review import ReviewedClaim
from pipeline.domain.post import FetchedPost, Unreadable
from pipeline.domain.warning import OfficialWarning


class Intake(Protocol):
    """The door. Each method raises NotNow when it cannot take anything at the moment."""

    def accept(self, posts: Sequence[FetchedPost]) -> object: ...

    def refuse(self, pieces: Sequence[Unreadable]) -> object: ...

    def warn(self, warnings: Sequence[OfficialWarning]) -> object: ...

    def learn(self, claims: Sequence[ReviewedClaim]) -> object: ...


class HealthSink(Protocol):
    """Keeps what each visit to a source came to."""

    def record(self, run: SourceRun) -> object: ...
