"""``tingfeng claims``: take in what others have looked into; measure the thresholds anew."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nlp.claim_calibration import Repeat, calibrate
from pipeline import claim_thresholds
from pipeline.app import App, build
from pipeline.desk.claims import active_claims, import_reviews
from pipeline.domain.claim_review import BadReview, ReviewedClaim
from pipeline.domain.post import Unreadable
from pipeline.domain.rights import MACHINE
from pipeline.errors import SettingsError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from crawlers.health import SourceRun
    from pipeline.domain.post import FetchedPost
    from pipeline.domain.warning import OfficialWarning

LARGEST_FILE = 64 << 20
SOURCE = "claims-import"


@dataclass(slots=True)
class Imported:
    """What one file or address came to. ``refused``: entries in the dead letters; ``problem``:
    why nothing could be read at all; ``reasons``: number and reason of each refused entry."""

    origin: str
    read: int = 0
    added: int = 0
    known: int = 0
    refused: int = 0
    problem: str = ""
    reasons: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def import_claims(settings: Settings, origins: Sequence[str]) -> Iterator[Imported]:
    """ClaimReview of files and addresses into the library; one result for each.

    What cannot be used goes to the dead letters with its reason (``tingfeng dead list``).
    Addresses are fetched by the crawler: robots.txt, pauses and a no are respected.
    """
    app = build(settings)
    try:
        for origin in origins:
            is_address = urlsplit(origin).scheme in ("http", "https")
            found, problem = _fetch(app, origin) if is_address else _read(Path(origin))
            yield _keep(app, Path(origin).name if not is_address else origin, found, problem)
    finally:
        app.close()


def _keep(
    app: App, origin: str, found: Iterable[ReviewedClaim | BadReview], problem: str
) -> Imported:
    result = Imported(origin, problem=problem)
    good, bad = [], []
    for entry in found:
        result.read += 1
        if isinstance(entry, BadReview):
            bad.append(entry)
        else:
            good.append(entry)
    if bad:
        app.ingest().refuse([Unreadable(SOURCE, b.raw, f"{origin}: {b.reason}") for b in bad])
        result.refused = len(bad)
        result.reasons = [f"entry {b.number}: {b.reason}" for b in bad]
    if good:
        with app.store.begin(app.now()) as tx:
            result.added, result.known = import_reviews(tx, MACHINE, good, origin=origin)
    return result


def _read(path: Path) -> tuple[list[ReviewedClaim | BadReview], str]:
    """Entries of a file: JSON, JSON lines (``.jsonl``) or a saved page; ``.gz`` of each."""
    from crawlers.spiders.claimreview import read_document

    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
        if path.suffix == ".gz":
            with gzip.open(path) as packed:
                raw = packed.read(LARGEST_FILE + 1)
    except OSError as error:
        return [], f"cannot be read ({error.strerror or error})"
    if len(raw) > LARGEST_FILE:
        return [], f"larger than {LARGEST_FILE >> 20} MB; split it"
    text = raw.decode("utf-8-sig", "replace")
    if ".jsonl" not in path.suffixes:
        return list(read_document(text)), ""
    found: list[ReviewedClaim | BadReview] = []
    for number, line in enumerate(text.splitlines(), 1):
        for entry in read_document(line) if line.strip() else ():
            if isinstance(entry, BadReview):
                entry = BadReview(number, entry.reason, entry.raw)
            found.append(entry)
    return found, ""


class _Collects:
    """An intake that keeps what one address gave."""

    def __init__(self) -> None:
        self.found: list[ReviewedClaim | BadReview] = []

    def accept(self, posts: Sequence[FetchedPost]) -> None:
        """A ClaimReview source gives no posts."""

    def warn(self, warnings: Sequence[OfficialWarning]) -> None:
        """Nor warnings."""

    def learn(self, claims: Sequence[ReviewedClaim]) -> None:
        self.found.extend(claims)

    def refuse(self, pieces: Sequence[Unreadable]) -> None:
        first = len(self.found) + 1
        self.found.extend(BadReview(first + n, p.reason, p.raw) for n, p in enumerate(pieces))

    def record(self, run: SourceRun) -> None:
        """Its health is this command's own output."""


def _fetch(app: App, address: str) -> tuple[list[ReviewedClaim | BadReview], str]:
    from crawlers.runner import crawl_once
    from crawlers.sources import as_source

    source = as_source(
        {"name": SOURCE, "spider": "claimreview", "url": address, "every_s": 3600.0}, address
    )
    taken = _Collects()
    contact = app.settings.contact
    runs = asyncio.run(crawl_once([source], taken, taken, app.clock, contact=contact))
    run = runs[0] if runs else None
    problem = "" if run is not None and run.ok else (run.reason if run else "") or "not fetched"
    return taken.found, problem


# ---- calibration --------------------------------------------------------------------------


def calibrate_claims(settings: Settings, files: Sequence[Path]) -> dict[str, Any]:
    """Measure both thresholds on the active claims and keep them in the folder.

    ``files``: JSON lines (``.gz`` too). A line with ``claim`` (an id) and ``role`` (repeat,
    question, debunk, negative) is a labelled post; one without is an ordinary post.

    Raises: SettingsError for a line that is neither, or when one of the two kinds is missing.
    """
    app = build(settings)
    try:
        with app.store.read() as conn:
            known = active_claims(conn, app.now())
        ordinary, repeats = _posts(files)
        ids = {claim.id for claim in known}
        used = [r for r in repeats if r.claim in ids]
        try:
            found = calibrate(known, ordinary, used)
        except ValueError as error:
            hint = f"; {len(repeats) - len(used)} named claims are not active" if repeats else ""
            raise SettingsError(f"{error}{hint}") from error
        path = claim_thresholds.save(settings, found, app.now())
    finally:
        app.close()
    figures = asdict(found)
    return {
        **figures.pop("thresholds"),
        **figures,
        "passed_over": len(repeats) - len(used),
        "file": str(path),
    }


def _posts(files: Sequence[Path]) -> tuple[list[str], list[Repeat]]:
    ordinary: list[str] = []
    repeats: list[Repeat] = []
    for path in files:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                    text = str(row["text"])
                    claim = str(row.get("claim") or "")
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise SettingsError(
                        f"{path.name}, line {number}: write an object with text, and claim and"
                        f" role for a post about a claim ({error})"
                    ) from error
                if claim:
                    repeats.append(Repeat(text, claim, str(row.get("role") or "repeat")))
                else:
                    ordinary.append(text)
    return ordinary, repeats
