"""An alert in words: for an office, for a warning's line, for those who subscribe."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from pipeline.clock import BEIJING
from pipeline.domain.alert import lateness
from pipeline.domain.event import EVENT_KIND_NAMES, Level
from pipeline.domain.warning import COLOUR_WORDS


def headline(row: dict[str, Any]) -> str:
    """Level, class and matter in one line, and that it comes late."""
    label = Level(row["level"]).label
    kind = EVENT_KIND_NAMES.get(row["kind"], "来源" if row["kind"] == "source" else row["kind"])
    late = lateness(row["fired_at"], row["recorded_at"])
    return f"【{label}·{kind}】{row['title']}" + (f"（{late}）" if late else "")


def notice(row: dict[str, Any]) -> str:
    """What an alert says to an office (DESIGN.md §10), without the closing link.

    ``notify`` adds the link to the receipt page, which only it knows, and cuts to size.
    """
    lines = [f"为何现在：{row['sentence']}"]
    if late := lateness(row["fired_at"], row["recorded_at"]):
        at = row["fired_at"].astimezone(BEIJING).strftime("%m-%d %H:%M")
        lines.append(f"{late}：{at} 已够预警条件，因系统中断或采集延迟才发出")
    if row["place_name"]:
        lines.append(f"地点：{row['place_name']}")
    for n, link in enumerate(row["links"], start=1):
        lines.append(f"例{n}：{link['text']} {link['url']}".rstrip())
    lines.append("在效预警：" + ("；".join(row["warning_texts"]) or "无"))
    if row["asked"]:
        lines.append(f"请{row['lead_office']}：{row['asked']}")
    return "\n".join(lines)


def warning_line(row: Any) -> str:
    """A warning in force in one line: station, type, colour, time."""
    at = row["issued_at"].astimezone(BEIJING).strftime("%m-%d %H:%M")
    colour = COLOUR_WORDS.get(row["colour"], "")
    return f"{row['station'] or row['area']}{row['type_name']}{colour}预警（{at}发布）"


def alert_body(row: dict[str, Any], route: str = "") -> dict[str, Any]:
    """The body of the topic ``alerts`` (schema alert/1)."""
    return {
        "fingerprint": row["fingerprint"],
        "rule": row["rule"],
        "rung": row["rung"],
        "event_id": row["event_id"],
        "level": row["level"],
        "level_name": Level(row["level"]).label,
        "kind": row["kind"],
        "title": row["title"],
        "sentence": row["sentence"],
        "figures": row["figures"],
        "hazard": row["hazard"],
        "adcode": row["adcode"],
        "place_name": row["place_name"],
        "routing": {
            "lead": row["lead_office"],
            "helpers": row["helper_offices"],
            "copies": row["copy_offices"],
            "rule": route,
        },
        "links": row["links"],
        "warnings": row["warning_texts"],
        "asked": row["asked"],
        "state": row["state"],
        "state_reason": row["state_reason"],
        "fired_at": row["fired_at"].astimezone(UTC),
        "last_at": row["last_at"].astimezone(UTC),
    }
