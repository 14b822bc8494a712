"""OfficialWarning: a weather warning signal as an official list or CAP message gives it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Literal

from nlp.types import Colour

Action = Literal["issued", "changed", "lifted"]

BEIJING = timezone(timedelta(hours=8))
COLOUR_WORDS: dict[str, str] = {"blue": "蓝色", "yellow": "黄色", "orange": "橙色", "red": "红色"}
ACTION_WORDS: dict[str, str] = {"issued": "发布", "changed": "变更发布", "lifted": "解除"}


def signal_name(type_name: str, colour: str) -> str:
    """As 暴雨橙色预警; without a known colour 暴雨预警."""
    return f"{type_name}{COLOUR_WORDS.get(colour, '')}预警"


_ALERT_ID = re.compile(r"([0-9]{14})_([0-9]{14})")


@dataclass(frozen=True, slots=True)
class OfficialWarning:
    """One message about one warning signal. All times aware, UTC.

    ``id``: ``{14-digit sender}_{yyyyMMddHHmmss}`` where the source has it, else the CAP identifier.
    ``hazard``: one of ``nlp.types.HAZARDS``; ``other`` for a type that we do not know, whose
    ``type_name`` and ``type_code`` pass through as they came. ``colour``: empty when the source
    names none. ``supersedes``: ids of the warnings that this one changes or lifts.
    """

    id: str
    hazard: str
    type_name: str
    type_code: str
    colour: Colour | Literal[""]
    action: Action
    station: str
    adcode: str
    area: str
    issued_at: datetime
    effective_at: datetime | None = None
    expires_at: datetime | None = None
    supersedes: tuple[str, ...] = ()
    text: str = ""
    url: str = ""
    source: str = ""

    def wording(self) -> str:
        """The warning in the standard wording: station, time, act, type, colour, then its text."""
        at = self.issued_at.astimezone(BEIJING)
        colour = COLOUR_WORDS.get(self.colour, "")
        head = (
            f"{self.station}{at.year}年{at.month}月{at.day}日{at:%H}时{at:%M}分"
            f"{ACTION_WORDS[self.action]}{self.type_name}{colour}预警信号"
        )
        body = self.text
        if body.startswith(self.station) and "预警" in body[:60]:
            # The bulletin opens with the same statement; keep what it says after the colon.
            body = "".join(re.split("[:：]", body, maxsplit=1)[1:])
        return f"{head}：{body}" if body else f"{head}。"

    def is_in_force(self, now: datetime) -> bool:
        """Whether it is issued, not lifted and not run out; what superseded it is not looked at."""
        return self.action != "lifted" and (self.expires_at is None or now < self.expires_at)


def read_alert_id(alert_id: str) -> tuple[str, str, datetime] | None:
    """Sender (14 digits), division code (6 digits) and time (UTC) of an alert id."""
    match = _ALERT_ID.fullmatch(alert_id)
    if match is None:
        return None
    try:
        stamp = datetime.strptime(match[2], "%Y%m%d%H%M%S").replace(tzinfo=BEIJING)
    except ValueError:
        return None
    return match[1], match[1][:6], stamp.astimezone(UTC)
