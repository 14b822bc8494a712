"""The only place that builds adapters and joins them up.

``build`` is cheap: it opens the stores and reads the rule files. What costs time or memory
(the annotator, the crawler) is made by the part that needs it.
"""

from __future__ import annotations

import base64
import os
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from pipeline import engines
from pipeline.bus.base import Bus
from pipeline.clock import Clock, DrillClock, WallClock
from pipeline.desk import claims as desk_claims
from pipeline.desk.clocks import DeskRules, load_desk_rules
from pipeline.desk.help import Vault
from pipeline.domain.levels import Levels, load_levels
from pipeline.domain.routing import Routes, load_routes
from pipeline.domain.rules import Rules, load_rules
from pipeline.errors import SettingsError
from pipeline.index.base import Index
from pipeline.settings import Settings
from pipeline.store.sql import Store

if TYPE_CHECKING:
    from nlp.claims import KnownClaim
    from pipeline.current import CurrentAnnotator
    from pipeline.stages.detect import Detector
    from pipeline.stages.ingest import Ingest
    from pipeline.stages.second_tier import SecondTier

log = structlog.get_logger("app")

DEFAULTS = Path(__file__).parent / "defaults"


def clock_file(settings: Settings) -> Path:
    """Where a drill keeps its time; the file exists in drills only."""
    return settings.home / "clock.json"


def rule_file(settings: Settings, name: str) -> Path:
    """The bureau's own rule file in its folder, else the shipped default."""
    own = settings.home / name
    return own if own.exists() else DEFAULTS / name


def secret(settings: Settings, name: str, given: str) -> bytes:
    """A 32-byte key: the one given, else the one kept in ``home/keys``, made at the first start.

    Raises: SettingsError when a given key is not 32 bytes of urlsafe base64 or plain text of
    at least 32 characters.
    """
    if given:
        try:
            key = base64.b64decode(given, altchars=b"-_", validate=True)
        except ValueError:
            key = b""
        if len(key) < 32:
            key = given.encode()  # plain words
        if len(key) < 32:
            raise SettingsError(
                f"{name}: give at least 32 random bytes, as from: openssl rand -base64 32"
            )
        return key[:32]
    path = settings.keys / name
    try:
        return _kept_key(settings, path, name)
    except OSError as error:
        raise SettingsError(
            f"cannot read or make {path} ({error.strerror}); fix the owner and rights of the folder"
        ) from error


def _kept_key(settings: Settings, path: Path, name: str) -> bytes:
    if not path.exists():
        settings.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f"{name}.{os.getpid()}")
        new.touch(mode=0o600)
        new.write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
        try:
            os.link(new, path)  # the first process wins; the others read what it wrote
        except FileExistsError:
            pass
        finally:
            new.unlink()
    try:
        key = base64.urlsafe_b64decode(path.read_bytes())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise SettingsError(f"{path} is damaged; restore it from the backup of the keys folder")
    return key


def make_clock(settings: Settings) -> Clock:
    """The drill's clock in a drill, else the wall clock."""
    path = clock_file(settings)
    return DrillClock.load(path) if path.exists() else WallClock()


def open_bus(settings: Settings) -> closing[Bus]:
    """The bus alone, for commands that need nothing else."""
    return closing(engines.open_bus(settings, make_clock(settings)))


@dataclass(frozen=True, slots=True)
class RuleFiles:
    """The rule files of a folder, read and checked."""

    desk: DeskRules
    detect: Rules
    levels: Levels
    routes: Routes


def load_rule_files(settings: Settings) -> RuleFiles:
    """Raises: SettingsError naming the file and what is wrong in it."""
    return RuleFiles(
        desk=load_desk_rules(
            rule_file(settings, "deadlines.toml"),
            short=settings.bureau_short,
            is_drill=clock_file(settings).exists(),
        ),
        detect=load_rules(rule_file(settings, "rules.toml")),
        levels=load_levels(rule_file(settings, "levels.toml")),
        routes=load_routes(rule_file(settings, "routes.toml")),
    )


@dataclass(frozen=True)
class App:
    """Everything that is shared between the parts of one process."""

    settings: Settings
    clock: Clock
    store: Store
    bus: Bus
    index: Index
    rules: DeskRules
    detect_rules: Rules
    levels: Levels
    routes: Routes
    vault: Vault

    @property
    def is_drill(self) -> bool:
        return clock_file(self.settings).exists()

    @cached_property
    def author_key(self) -> bytes:
        given = self.settings.secret_key.get_secret_value()
        return secret(self.settings, "author.key", given)

    def ingest(self) -> Ingest:
        """The door for posts."""
        from pipeline.stages.ingest import Ingest

        return Ingest(
            self.bus,
            engines.open_seen(self.settings),
            author_key=self.author_key,
            seal=self.vault.seal,
            clock=self.clock,
        )

    def known_claims(self) -> list[KnownClaim]:
        """The active claims of the library: shipped, own, imported."""
        with self.store.read() as conn:
            return desk_claims.active_claims(conn, self.now())

    def annotator(self) -> CurrentAnnotator:
        """The model people chose, with the library's active claims; follows their changes.

        Raises: nlp.errors.ModelMissing when not even the shipped model is there.
        """
        from pipeline.current import CurrentAnnotator

        return CurrentAnnotator(self)

    def second_tier(self, annotator: CurrentAnnotator) -> SecondTier | None:
        """Second looks as the settings allow them. Without fitted weights for the sentence
        encoder it stays off, and the board says so: the first tier goes on in any case."""
        from nlp.errors import ModelMissing, ModelUnreadable
        from nlp.semantic import EncoderProcess, load_blend
        from pipeline.stages.second_tier import Budget, SecondTier

        s = self.settings
        if s.second_tier_ms == 0:
            return None
        budget = Budget(s.second_tier_ms)
        if s.semantic == "off":
            return SecondTier(annotator, self.index, budget)
        try:
            blend = load_blend()
        except (ModelMissing, ModelUnreadable) as error:
            log.error("semantic tier cannot be used", error=str(error))
            return SecondTier(annotator, self.index, budget, problem="语义复核未就绪，暂用基本判读")
        encoder = EncoderProcess(s.semantic)
        return SecondTier(annotator, self.index, budget, encoder=encoder, blend=blend)

    def detector(self) -> Detector:
        """The event detector, its memory rebuilt from the store."""
        from pipeline.stages.detect import Detector

        detector = Detector(
            self.store,
            self.detect_rules,
            self.routes,
            self.levels,
            clock=self.clock,
            home_adcode=self.settings.home_adcode,
            backfill_hours=self.settings.backfill_hours,
        )
        detector.rebuild()
        return detector

    def now(self) -> datetime:
        return self.clock.now()

    def close(self) -> None:
        self.index.close()
        self.bus.close()
        self.store.close()


def build(settings: Settings, clock: Clock | None = None) -> App:
    """Open the stores of a configuration, making what is not there.

    Raises: SettingsError for a wrong setting or rule file; StoreRefused when the database does not
    let us in; NotNow when a server does not answer, or a database is locked.
    """
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"home: cannot make {settings.home} ({error.strerror}); choose a writable folder"
        ) from error
    clock = clock or make_clock(settings)
    rules = load_rule_files(settings)
    vault = Vault(secret(settings, "vault.key", settings.vault_key.get_secret_value()))
    with ExitStack() as opened:  # closes them again when a later one cannot be opened
        store = opened.enter_context(closing(engines.open_store(settings)))
        store.create()
        bus = opened.enter_context(closing(engines.open_bus(settings, clock)))
        app = App(
            settings=settings,
            clock=clock,
            store=store,
            bus=bus,
            index=engines.open_index_late(settings),
            rules=rules.desk,
            detect_rules=rules.detect,
            levels=rules.levels,
            routes=rules.routes,
            vault=vault,
        )
        opened.pop_all()
    return app
