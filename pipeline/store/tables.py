"""Every table of desk.db (or PostgreSQL): what people did, and events.

Plain SQLAlchemy Core. Times are aware UTC in Python (``Utc``); JSON columns hold lists and
dicts. A row that a person may change carries ``version`` so that two editors meet loudly.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)


class Utc(TypeDecorator[datetime]):
    """An aware time, kept as UTC. Refuses naive times: they are always a mistake."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without zone; pass an aware datetime")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True, autoincrement=True)


# ---- people -------------------------------------------------------------------------------

users = Table(
    "users",
    metadata,
    _id(),
    Column("name", String(64), nullable=False, unique=True),
    Column("display", String(64), nullable=False, default=""),
    Column("role", String(16), nullable=False),
    Column("office", String(64), nullable=False, default=""),
    Column("password_hash", String(256), nullable=False),
    Column("must_change", Boolean, nullable=False, default=True),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("failed", Integer, nullable=False, default=0),
    Column("locked_until", Utc),
    Column("created_at", Utc, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("sid_hash", String(64), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("seen_at", Utc, nullable=False),
    Column("expires_at", Utc, nullable=False),
    Column("origin", String(64), nullable=False, default=""),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3 ... without a gap
    Column("at", Utc, nullable=False),
    Column("actor_id", Integer, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("act", String(48), nullable=False),
    Column("object", String(32), nullable=False),
    Column("object_id", String(64), nullable=False),
    Column("before", JSON),
    Column("after", JSON),
    Column("origin", String(64), nullable=False, default=""),
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("ix_audit_object", "object", "object_id"),
)

outbox = Table(
    "outbox",
    metadata,
    _id(),
    Column("message_id", String(40), nullable=False, unique=True),
    Column("topic", String(64), nullable=False),
    Column("key", String(128), nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("sent_at", Utc, index=True),
)

handovers = Table(
    "handovers",
    metadata,
    _id(),
    Column("at", Utc, nullable=False),
    Column("from_user", String(64), nullable=False),
    Column("to_user", String(64), nullable=False),
    Column("note", Text, nullable=False, default=""),
    Column("open_items", JSON, nullable=False),
)

# ---- weather and events -------------------------------------------------------------------

warnings = Table(
    "warnings",
    metadata,
    Column("id", String(96), primary_key=True),
    Column("hazard", String(16), nullable=False, default=""),
    Column("type_name", String(32), nullable=False),
    Column("type_code", String(16), nullable=False, default=""),
    Column("colour", String(8), nullable=False, default=""),
    Column("action", String(16), nullable=False),
    Column("station", String(64), nullable=False, default=""),
    Column("adcode", String(12), nullable=False, default=""),
    Column("area", String(128), nullable=False, default=""),
    Column("issued_at", Utc, nullable=False, index=True),
    Column("effective_at", Utc),
    Column("expires_at", Utc),
    Column("lifted_at", Utc),  # lifted or superseded then
    Column("superseded_by", String(96), nullable=False, default=""),
    Column("text", Text, nullable=False, default=""),
    Column("url", Text, nullable=False, default=""),
    Column("source", String(64), nullable=False, default=""),
)

processes = Table(
    "processes",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("hazard", String(16), nullable=False),
    Column("adcode", String(12), nullable=False),
    Column("opened_at", Utc, nullable=False),
    Column("opened_by", String(96), nullable=False),
    Column("closed_at", Utc),
)

events = Table(
    "events",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("kind", String(16), nullable=False, index=True),
    Column("title", Text, nullable=False),
    Column("claim_id", String(40), nullable=False, default=""),
    Column("hazard", String(16), nullable=False, default=""),
    Column("adcode", String(12), nullable=False, default="", index=True),
    Column("place_name", String(64), nullable=False, default=""),
    Column("first_post_id", String(32), nullable=False),
    Column("first_at", Utc, nullable=False),
    Column("first_seen_at", Utc, nullable=False),
    Column("last_at", Utc, nullable=False, index=True),
    Column("posts", Integer, nullable=False, default=0),
    Column("unique_posts", Integer, nullable=False, default=0),
    Column("heat", Float, nullable=False, default=0.0),
    Column("reposts", Integer, nullable=False, default=0),
    Column("comments", Integer, nullable=False, default=0),
    Column("likes", Integer, nullable=False, default=0),
    Column("views", Integer, nullable=False, default=0),
    Column("neg", Integer, nullable=False, default=0),
    Column("neu", Integer, nullable=False, default=0),
    Column("pos", Integer, nullable=False, default=0),
    Column("spread", Integer, nullable=False, default=0),
    Column("question", Integer, nullable=False, default=0),
    Column("debunk", Integer, nullable=False, default=0),
    Column("official", Integer, nullable=False, default=0),
    Column("max_urgency", Integer, nullable=False, default=0),
    Column("places", JSON, nullable=False),  # {adcode: posts}
    Column("sources", JSON, nullable=False),  # {source: posts}
    Column("proposed_level", Integer, nullable=False, default=1),
    Column("proposed_reasons", JSON, nullable=False),
    Column("level", Integer),  # decided by a person
    Column("process_id", String(64), nullable=False, default=""),
    Column("merged_into", String(40), nullable=False, default=""),
    Column("updated_at", Utc, nullable=False),
)

event_posts = Table(
    "event_posts",
    metadata,
    Column("post_id", String(32), primary_key=True),
    Column("event_id", ForeignKey("events.id"), nullable=False, index=True),
    Column("at", Utc, nullable=False),  # published
    Column("seen_at", Utc, nullable=False),  # fetched
    Column("source", String(64), nullable=False),
    Column("author", String(16), nullable=False, default=""),
    Column("author_kind", String(16), nullable=False, default="person"),
    Column("copy_of", String(32), nullable=False, default=""),  # folded near-copy or repost of
    Column("stance", String(10), nullable=False, default="other"),
    Column("kind", String(12), nullable=False),
    Column("sentiment", String(4), nullable=False),
    Column("urgency", Integer, nullable=False, default=0),
    Column("rumour", String(12), nullable=False, default="none"),
    Column("adcode", String(12), nullable=False, default=""),
    Column("reposts", Integer, nullable=False, default=0),
    Column("comments", Integer, nullable=False, default=0),
    Column("likes", Integer, nullable=False, default=0),
    Column("views", Integer, nullable=False, default=0),
    Column("sketch", LargeBinary),  # 64 x u32, to find copies again after a restart
    Column("seq", Integer, nullable=False, default=0, server_default="0"),  # order of arrival
    Index("ix_event_posts_seq", "seq"),
    Index("ix_event_posts_event_at", "event_id", "at"),
    Index("ix_event_posts_at", "at"),
)

event_traits = Table(  # what the detector knows about an event, to go on after a restart
    "event_traits",
    metadata,
    Column("event_id", ForeignKey("events.id"), primary_key=True),
    Column("traits", JSON, nullable=False),
)

talk_posts = Table(  # posts counted as a place's usual talk: each counts once
    "talk_posts",
    metadata,
    Column("post_id", String(32), primary_key=True),
    Column("seq", Integer, nullable=False, index=True),
    Column("at", Utc, nullable=False),
    Column("adcode", String(12), nullable=False, default=""),
    Column("hazard", String(16), nullable=False, default=""),
)

event_buckets = Table(  # ten-minute figures of an event, for curves and rules
    "event_buckets",
    metadata,
    Column("event_id", ForeignKey("events.id"), primary_key=True),
    Column("start", Utc, primary_key=True),
    Column("posts", Integer, nullable=False, default=0),
    Column("reposts", Integer, nullable=False, default=0),
    Column("comments", Integer, nullable=False, default=0),
    Column("likes", Integer, nullable=False, default=0),
    Column("views", Integer, nullable=False, default=0),
    Column("heat", Float, nullable=False, default=0.0),
    Column("neg", Integer, nullable=False, default=0),
    Column("neu", Integer, nullable=False, default=0),
    Column("pos", Integer, nullable=False, default=0),
    Column("spread", Integer, nullable=False, default=0),
    Column("question", Integer, nullable=False, default=0),
    Column("debunk", Integer, nullable=False, default=0),
    Column("official", Integer, nullable=False, default=0),
)

baselines = Table(  # the place's usual posts per hour of day, for burst rules
    "baselines",
    metadata,
    Column("adcode", String(12), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("hour", Integer, primary_key=True),  # 0-23, Beijing time
    Column("mean", Float, nullable=False, default=0.0),
    Column("days", Integer, nullable=False, default=0),
    Column("last_day", String(10), nullable=False, default=""),
    Column("today", Integer, nullable=False, default=0),
)

alerts = Table(
    "alerts",
    metadata,
    Column("fingerprint", String(24), primary_key=True),
    Column("rule", String(32), nullable=False, index=True),
    Column("rung", String(16), nullable=False, default=""),
    Column("event_id", String(40), nullable=False, default="", index=True),
    Column("level", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("title", Text, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("figures", JSON, nullable=False),
    Column("hazard", String(16), nullable=False, default=""),
    Column("adcode", String(12), nullable=False, default=""),
    Column("place_name", String(64), nullable=False, default=""),
    Column("lead_office", String(64), nullable=False),
    Column("helper_offices", JSON, nullable=False),
    Column("copy_offices", JSON, nullable=False),
    Column("links", JSON, nullable=False),
    Column("warning_texts", JSON, nullable=False),
    Column("asked", Text, nullable=False, default=""),
    Column("state", String(12), nullable=False, index=True),
    Column("state_reason", Text, nullable=False, default=""),  # which rule or person, why
    Column("fired_at", Utc, nullable=False, index=True),
    Column("last_at", Utc, nullable=False),
    Column("recorded_at", Utc, nullable=False),
    Column("times", Integer, nullable=False, default=1),
    Column("claimed_by", String(64), nullable=False, default=""),
    Column("claimed_at", Utc),
    Column("progress_at", Utc),  # last progress after the claim; too old = falls back
    Column("shelved_until", Utc),
    Column("case_id", Integer),
    Column("useful", Boolean),  # judged by the desk, for the review
    Column("closed_at", Utc),
    Column("version", Integer, nullable=False, default=1),
)

silences = Table(
    "silences",
    metadata,
    _id(),
    Column("matchers", JSON, nullable=False),  # {"rule": .., "kind": .., "adcode": ..}
    Column("owner", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("starts_at", Utc, nullable=False),
    Column("ends_at", Utc, nullable=False),
    Column("ended_by", String(64), nullable=False, default=""),
)

deliveries = Table(  # telling one receiver one thing
    "deliveries",
    metadata,
    _id(),
    Column("dedup_key", String(96), nullable=False, unique=True),
    Column("reason", String(24), nullable=False),  # alert, reminder, escalation, digest, fallback
    Column("fingerprint", String(24), nullable=False, default="", index=True),
    Column("case_id", Integer, index=True),
    Column("receiver", String(64), nullable=False),
    Column("channel", String(16), nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(12), nullable=False),  # waiting, sent, failed, given_up, grouped
    Column("not_before", Utc, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("last_error", Text, nullable=False, default=""),
    Column("error_class", String(24), nullable=False, default=""),
    Column("created_at", Utc, nullable=False),
    Column("sent_at", Utc),
    Index("ix_deliveries_state", "state", "not_before"),
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    _id(),
    Column("delivery_id", ForeignKey("deliveries.id"), nullable=False, index=True),
    Column("at", Utc, nullable=False),
    Column("ok", Boolean, nullable=False),
    Column("error_class", String(24), nullable=False, default=""),
    Column("error", Text, nullable=False, default=""),
)

# ---- cases --------------------------------------------------------------------------------

cases = Table(
    "cases",
    metadata,
    _id(),
    Column("number", String(40), nullable=False, unique=True),
    Column("event_id", String(40), nullable=False, default="", index=True),
    Column("title", Text, nullable=False),
    Column("case_class", String(12), nullable=False, default="opinion"),
    Column("level", Integer, nullable=False, default=1),
    Column("level_reason", Text, nullable=False, default=""),
    Column("status", String(12), nullable=False, index=True),
    Column("owner", String(64), nullable=False),  # user name
    Column("lead_office", String(64), nullable=False),
    Column("helper_offices", JSON, nullable=False),
    Column("copy_offices", JSON, nullable=False),
    Column("frozen_rules", JSON, nullable=False),  # deadlines and route, as of opening
    Column("opened_at", Utc, nullable=False),
    Column("confirmed_at", Utc),  # T0
    Column("responded_at", Utc),
    Column("closed_at", Utc),
    Column("close_note", Text, nullable=False, default=""),
    Column("dismiss_reason", String(24), nullable=False, default=""),
    Column("merged_into", Integer),
    Column("is_drill", Boolean, nullable=False, default=False),
    Column("version", Integer, nullable=False, default=1),
)

case_timeline = Table(
    "case_timeline",
    metadata,
    _id(),
    Column("case_id", ForeignKey("cases.id"), nullable=False, index=True),
    Column("at", Utc, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("kind", String(24), nullable=False),  # opened, assessed, assigned, received, ...
    Column("text", Text, nullable=False),  # Chinese, one sentence
    Column("data", JSON, nullable=False),
)

assignments = Table(
    "assignments",
    metadata,
    _id(),
    Column("case_id", ForeignKey("cases.id"), nullable=False, index=True),
    Column("office", String(64), nullable=False, index=True),
    Column("part", String(8), nullable=False),  # lead, helper
    Column("task", Text, nullable=False),
    Column("state", String(12), nullable=False, index=True),
    Column("sent_at", Utc, nullable=False),
    Column("sent_by", String(64), nullable=False),
    Column("due_at", Utc, nullable=False),
    Column("received_at", Utc),
    Column("received_by", String(64), nullable=False, default=""),
    Column("reply", Text, nullable=False, default=""),
    Column("replied_at", Utc),
    Column("replied_by", String(64), nullable=False, default=""),
    Column("decided_at", Utc),
    Column("decided_by", String(64), nullable=False, default=""),
    Column("comment", Text, nullable=False, default=""),
    Column("replaces", Integer),  # the assignment it was handed on from
    Column("version", Integer, nullable=False, default=1),
)

clocks = Table(  # every due time is a row, written when the clock starts
    "clocks",
    metadata,
    _id(),
    Column("owner", String(16), nullable=False),  # case, assignment, alert, help, report, step
    Column("owner_id", String(40), nullable=False),
    Column("case_id", Integer, index=True),
    Column("name", String(32), nullable=False),  # first_release, press, receipt, unclaimed, ...
    Column("label", String(64), nullable=False),  # Chinese
    Column("basis", Text, nullable=False, default=""),  # the rule it comes from
    Column("started_at", Utc, nullable=False),
    Column("warn50_at", Utc),
    Column("warn80_at", Utc),
    Column("due_at", Utc, nullable=False, index=True),
    Column("met_at", Utc),
    Column("cancelled_at", Utc),
    Column("fired", JSON, nullable=False),  # {"50": iso, "80": iso, "due": iso, "up1": iso}
    UniqueConstraint("owner", "owner_id", "name", "started_at", name="uq_clocks_owner"),
)

help_calls = Table(
    "help_calls",
    metadata,
    _id(),
    Column("post_id", String(32), nullable=False, unique=True),
    Column("event_id", String(40), nullable=False, default="", index=True),
    Column("text", Text, nullable=False),  # masked
    Column("url", Text, nullable=False, default=""),
    Column("source", String(64), nullable=False, default=""),
    Column("place_name", String(64), nullable=False, default=""),
    Column("adcode", String(12), nullable=False, default=""),
    Column("published_at", Utc, nullable=False),
    Column("seen_at", Utc, nullable=False, index=True),
    Column("probability", Float, nullable=False, default=0.0),
    Column("copies", Integer, nullable=False, default=0),
    Column("state", String(12), nullable=False, index=True),
    Column("passed_to", String(64), nullable=False, default=""),
    Column("passed_at", Utc),
    Column("passed_by", String(64), nullable=False, default=""),
    Column("answer", Text, nullable=False, default=""),
    Column("answered_at", Utc),
    Column("closed_at", Utc),
    Column("close_reason", Text, nullable=False, default=""),
    Column("version", Integer, nullable=False, default=1),
)

vault = Table(  # contacts of help calls, encrypted; the key lives outside the database
    "vault",
    metadata,
    _id(),
    Column("help_call_id", ForeignKey("help_calls.id"), nullable=False, index=True),
    Column("ciphertext", LargeBinary),  # None once destroyed
    Column("created_at", Utc, nullable=False),
    Column("destroyed_at", Utc),
    Column("held_reason", Text, nullable=False, default=""),
)

# ---- clarifications and releases ----------------------------------------------------------

clarifications = Table(
    "clarifications",
    metadata,
    _id(),
    Column("case_id", ForeignKey("cases.id"), nullable=False, index=True),
    Column("title", Text, nullable=False),
    Column("claim", Text, nullable=False),  # as the rumour states it
    Column("verdict", String(8), nullable=False),
    Column("facts", Text, nullable=False, default=""),  # 事实真相
    Column("measures", Text, nullable=False, default=""),  # 政策措施
    Column("results", Text, nullable=False, default=""),  # 处置结果
    Column("evidence", JSON, nullable=False),  # evidence ids
    Column("channels", JSON, nullable=False),
    Column("disclosure", String(16), nullable=False, default="主动公开"),
    Column("valid_until", Utc),
    Column("status", String(12), nullable=False, index=True),
    Column("emergency", Boolean, nullable=False, default=False),
    Column("author", String(64), nullable=False),
    Column("author_id", Integer, nullable=False),
    Column("needs_review", Text, nullable=False, default=""),  # why, e.g. a cited warning changed
    Column("editing_by", String(64), nullable=False, default=""),
    Column("editing_at", Utc),
    Column("created_at", Utc, nullable=False),
    Column("updated_at", Utc, nullable=False),
    Column("version", Integer, nullable=False, default=1),
)

clarification_steps = Table(  # every step with the text as it stood, so that differences show
    "clarification_steps",
    metadata,
    _id(),
    Column("clarification_id", ForeignKey("clarifications.id"), nullable=False, index=True),
    Column("at", Utc, nullable=False),
    Column("step", String(12), nullable=False),  # save, submit, check, secrecy, sign, send_back ...
    Column("outcome", String(12), nullable=False),  # done, passed, sent_back
    Column("actor", String(64), nullable=False),
    Column("actor_id", Integer, nullable=False),
    Column("comment", Text, nullable=False, default=""),
    Column("findings", JSON, nullable=False),  # negative-list hits and their answers
    Column("content", JSON, nullable=False),
    Column("version", Integer, nullable=False),
)

releases = Table(
    "releases",
    metadata,
    _id(),
    Column("number", String(40), nullable=False, unique=True),  # verification number
    Column("clarification_id", ForeignKey("clarifications.id"), nullable=False, index=True),
    Column("case_id", Integer, nullable=False, index=True),
    Column("kind", String(12), nullable=False),
    Column("of_release", Integer),  # the release it corrects or withdraws
    Column("reason", Text, nullable=False, default=""),
    Column("content", JSON, nullable=False),  # what went out, frozen
    Column("sha256", String(64), nullable=False),
    Column("signer", String(64), nullable=False),
    Column("released_by", String(64), nullable=False),
    Column("released_at", Utc, nullable=False, index=True),
)

release_channels = Table(
    "release_channels",
    metadata,
    _id(),
    Column("release_id", ForeignKey("releases.id"), nullable=False, index=True),
    Column("channel", String(32), nullable=False),
    Column("state", String(12), nullable=False),  # waiting, done, failed
    Column("link", Text, nullable=False, default=""),
    Column("receipt", Text, nullable=False, default=""),
    Column("error", Text, nullable=False, default=""),
    Column("done_at", Utc),
)

evidence = Table(  # copied here when used, so that retention of posts never eats a case
    "evidence",
    metadata,
    _id(),
    Column("case_id", Integer, index=True),
    Column("fingerprint", String(24), nullable=False, default="", index=True),
    Column("kind", String(16), nullable=False),  # post, warning, claim, observation, release
    Column("ref", String(96), nullable=False),
    Column("title", Text, nullable=False, default=""),
    Column("text", Text, nullable=False),  # masked
    Column("url", Text, nullable=False, default=""),
    Column("station", String(64), nullable=False, default=""),
    Column("at", Utc),
    Column("sha256", String(64), nullable=False),
    Column("captured_at", Utc, nullable=False),
    Column("captured_by", String(64), nullable=False),
)

upward_reports = Table(
    "upward_reports",
    metadata,
    _id(),
    Column("case_id", ForeignKey("cases.id"), nullable=False, index=True),
    Column("stage", String(8), nullable=False),  # 初报, 续报, 终报
    Column("line", String(32), nullable=False),  # 广西气象局, 市政府
    Column("text", Text, nullable=False),
    Column("phoned_at", Utc),
    Column("phoned_by", String(64), nullable=False, default=""),
    Column("phoned_to", String(64), nullable=False, default=""),
    Column("signed_by", String(64), nullable=False, default=""),
    Column("signed_at", Utc),
    Column("sent_at", Utc),
    Column("created_at", Utc, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("version", Integer, nullable=False, default=1),
)

reviews = Table(
    "reviews",
    metadata,
    Column("case_id", ForeignKey("cases.id"), primary_key=True),
    Column("made_at", Utc, nullable=False),
    Column("made_by", String(64), nullable=False),
    Column("figures", JSON, nullable=False),
    Column("summary", Text, nullable=False, default=""),
)

lessons = Table(
    "lessons",
    metadata,
    _id(),
    Column("case_id", ForeignKey("cases.id"), nullable=False, index=True),
    Column("text", Text, nullable=False),
    Column("office", String(64), nullable=False, default=""),
    Column("due_at", Utc),
    Column("done_at", Utc),
    Column("done_by", String(64), nullable=False, default=""),
    Column("created_at", Utc, nullable=False),
    Column("created_by", String(64), nullable=False),
)

# ---- claims, corrections, sources, the rest -----------------------------------------------

claims = Table(
    "claims",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("claim", Text, nullable=False),
    Column("verdict", String(8), nullable=False),
    Column("correction", Text, nullable=False, default=""),
    Column("hazard", String(16), nullable=False, default=""),
    Column("place", String(64), nullable=False, default=""),
    Column("adcode", String(12), nullable=False, default=""),
    Column("date", String(10), nullable=False, default=""),
    Column("source_name", String(128), nullable=False, default=""),
    Column("source_url", Text, nullable=False, default=""),
    Column("origin", String(12), nullable=False),  # library, own, import
    Column("clarification_id", Integer),
    Column("active", Boolean, nullable=False, default=True),
    Column("review_at", Utc),
    Column("created_at", Utc, nullable=False),
    Column("created_by", String(64), nullable=False),
)

label_corrections = Table(
    "label_corrections",
    metadata,
    _id(),
    Column("post_id", String(32), nullable=False, index=True),
    Column("head", String(12), nullable=False),
    Column("old", String(16), nullable=False),
    Column("new", String(16), nullable=False),
    Column("text", Text, nullable=False),  # masked, so that training needs no other store
    Column("by", String(64), nullable=False),
    Column("at", Utc, nullable=False),
    Column("settles", Boolean, nullable=False, server_default=false()),  # between two officers
    Column("drawn", Boolean, nullable=False, server_default=false()),  # for a spot check
)

model_uses = Table(
    "model_uses",
    metadata,
    _id(),
    Column("version", String(64), nullable=False),  # "" = the model that comes with the package
    Column("reason", Text, nullable=False),
    Column("by", String(64), nullable=False),
    Column("at", Utc, nullable=False),
)

label_days = Table(
    "label_days",
    metadata,
    Column("day", String(10), primary_key=True),  # Beijing date of publication
    Column("source", String(64), primary_key=True),
    Column("posts", Integer, nullable=False),
    Column("counts", JSON, nullable=False),  # pipeline.domain.drift.DayCounts without its posts
)

source_health = Table(
    "source_health",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("spider", String(16), nullable=False),
    Column("url", Text, nullable=False, default=""),
    Column("state", String(12), nullable=False),  # ok, late, empty, refused, failing, never
    Column("reason", Text, nullable=False, default=""),
    Column("every_s", Float, nullable=False, default=0.0),
    Column("last_run_at", Utc),
    Column("last_success_at", Utc),
    Column("last_post_at", Utc),  # published time of the newest post it gave
    Column("last_new_at", Utc),  # when it last gave a new one
    Column("runs", Integer, nullable=False, default=0),
    Column("failures", Integer, nullable=False, default=0),
    Column("empty_runs", Integer, nullable=False, default=0),
    Column("items", Integer, nullable=False, default=0),
    Column("broken", Integer, nullable=False, default=0),
    Column("usual_per_hour", Float, nullable=False, default=0.0),
)

heartbeats = Table(  # every machine part says when it last moved
    "heartbeats",
    metadata,
    Column("part", String(32), primary_key=True),
    Column("at", Utc, nullable=False),
    Column("lag", Integer, nullable=False, default=0),
    Column("note", Text, nullable=False, default=""),
    Column("figures", JSON, nullable=False, default=dict, server_default="{}"),  # since its start
)

meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
