"""Official warnings out of the two forms that exist: the nmc.cn list and CAP 1.2.

CAP: OASIS Common Alerting Protocol 1.2. It is XML from the network, so entities, DTDs and
external references are refused, not resolved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from crawlers.clean import clean_text
from crawlers.times import parse_time
from nlp.types import Colour
from nlp.warnings import find_warning
from pipeline.domain.warning import Action, OfficialWarning, read_alert_id

_ACTIONS: dict[str, Action] = {"Alert": "issued", "Update": "changed", "Cancel": "lifted"}
_SEVERITIES: dict[str, Colour] = {
    "Extreme": "red",
    "Severe": "orange",
    "Moderate": "yellow",
    "Minor": "blue",
}
_COLOURS: dict[str, Colour] = {"蓝": "blue", "黄": "yellow", "橙": "orange", "红": "red"}
_PIC_COLOURS: dict[str, Colour] = {"001": "red", "002": "orange", "003": "yellow", "004": "blue"}
_PIC = re.compile(r"p([0-9]{4})([0-9]{3})\.\w+$")
_TITLE = re.compile(
    r"(?P<station>.*?(?:气象(?:台|局|站|中心)|预警(?:信息)?发布中心))?"
    r"(?:(?:继续|变更|更新)?发布|更新|变更|升级|解除|取消)(?P<type>\S+?)(?P<colour>[蓝黄橙红]色)?预警(?:信号)?$"
)
_LIFTED = re.compile(r"解除|取消")
_CHANGED = re.compile(r"变更|更新|升级|降级|继续发布|提升|改发")


class NotAWarning(ValueError):
    """This is no warning for us; the text says why, in Chinese."""


def from_nmc_row(
    row: Mapping[str, Any],
    fetched_at: datetime,
    *,
    url: str,
    source: str,
    text: str = "",
    before: str = "",
) -> OfficialWarning:
    """A warning from a row of ``/rest/findAlarm``.

    ``text``: the bulletin of its detail page. ``before``: id of the last warning of the same
    sender and type; the list itself does not say what a warning supersedes.
    Raises: NotAWarning.
    """
    alert_id, title = clean_text(str(row.get("alertid", ""))), clean_text(str(row.get("title", "")))
    parts = read_alert_id(alert_id)
    if parts is None or not title:
        raise NotAWarning("预警编号或标题不完整")
    _, adcode, stamp = parts
    issued = parse_time(str(row.get("issuetime", "")), fetched_at)
    # The list gives minutes and may name an earlier time than the stamp: then the list is right.
    if issued is not None and abs(issued.at - stamp) >= timedelta(minutes=1):
        stamp = issued.at
    pic = _PIC.search(str(row.get("pic", "")))
    hazard, type_name, colour, station = read_title(title)
    action: Action = "issued"
    if _LIFTED.search(title):
        action = "lifted"
    elif before or _CHANGED.search(title):
        action = "changed"
    return OfficialWarning(
        id=alert_id,
        hazard=hazard,
        type_name=type_name,
        type_code=pic[1] if pic else "",
        colour=colour or (_PIC_COLOURS.get(pic[2], "") if pic else ""),
        action=action,
        station=station,
        adcode=adcode,
        area=re.sub(r"气象(?:台|局|站|中心)$", "", station),
        issued_at=stamp,
        supersedes=(before,) if before else (),
        text=text or title,
        url=url,
        source=source,
    )


def read_title(title: str) -> tuple[str, str, Colour | Literal[""], str]:
    """Hazard, type, colour and station of ``南宁市气象台发布暴雨红色预警信号``.

    A type that nobody told us of passes through under hazard ``other``.
    """
    match = _TITLE.search(title)
    mention = find_warning(title)
    station = (match["station"] or "") if match else ""
    type_name = match["type"] if match else mention.type_name if mention else title[:32]
    type_name = re.sub(r"(?:[一二三四]|[ⅠⅡⅢⅣ])级(?:[（(].*)?$", "", type_name)
    colour: Colour | Literal[""] = _COLOURS[match["colour"][0]] if match and match["colour"] else ""
    if mention is not None:
        return mention.hazard, type_name, mention.colour or colour, station or mention.station
    return "other", type_name, colour, station


def warning_key(warning: OfficialWarning) -> str:
    """Sender and type: warnings with the same key follow each other."""
    sender = warning.id.split("_", 1)[0]
    return f"{sender}:{warning.type_name}"


# -- CAP ----------------------------------------------------------------------------------------


def from_cap(
    body: bytes, *, url: str, source: str, accept_exercise: bool = False
) -> OfficialWarning:
    """A warning from one CAP message, versions 1.1 and 1.2.

    Raises: NotAWarning, for broken XML, for what lacks a mandatory part, and for messages that
    are no real warnings (status Test, System, Draft; Exercise outside of a drill).
    """
    try:
        alert = fromstring(body, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except DefusedXmlException as error:
        raise NotAWarning("XML 含有实体或 DTD，已拒绝") from error
    except (ParseError, ValueError, LookupError) as error:
        raise NotAWarning(f"XML 读不出：{error}") from error
    if _local(alert) != "alert":
        raise NotAWarning("不是 CAP 消息")
    identifier, sender, sent = (_one(alert, n) for n in ("identifier", "sender", "sent"))
    status, kind, scope = (_one(alert, n) for n in ("status", "msgType", "scope"))
    if not (identifier and sender and sent and status and kind and scope):
        raise NotAWarning("CAP 缺少必填项（identifier、sender、sent、status、msgType、scope）")
    if status != "Actual" and not (status == "Exercise" and accept_exercise):
        raise NotAWarning(f"状态为 {status}，不是实际预警")
    if scope != "Public":
        raise NotAWarning(f"范围为 {scope}，不对公众发布")
    if kind not in _ACTIONS:
        raise NotAWarning(f"消息类型为 {kind}，不是预警")
    issued = _moment(sent)
    if issued is None:
        raise NotAWarning("sent 没有时区或不是时间")
    return _of_info(
        alert,
        _info(alert),
        identifier=identifier,
        action=_ACTIONS[kind],
        issued_at=issued,
        url=url,
        source=source,
    )


def _of_info(
    alert: Element,
    info: Element | None,
    *,
    identifier: str,
    action: Action,
    issued_at: datetime,
    url: str,
    source: str,
) -> OfficialWarning:
    if info is None and action != "lifted":
        raise NotAWarning("CAP 没有 info 部分")

    def get(name: str) -> str:
        return _one(info, name) if info is not None else ""

    headline, event = get("headline"), get("event")
    hazard, type_name, colour, station = read_title(headline or event)
    if hazard == "other" and event:
        mention = find_warning(f"{event}预警")
        hazard = mention.hazard if mention else hazard
    areas = _all(info, "area") if info is not None else []
    id_parts = read_alert_id(identifier)
    return OfficialWarning(
        id=identifier,
        hazard=hazard,
        type_name=event.removesuffix("预警信号").removesuffix("预警") or type_name,
        type_code=next((_one(c, "value") for c in _children(info, "eventCode")), ""),
        colour=colour or _SEVERITIES.get(get("severity"), ""),
        action=action,
        station=get("senderName") or station or _one(alert, "sender"),
        adcode=_adcode(areas) or (id_parts[1] if id_parts else ""),
        area="、".join(filter(None, (_one(area, "areaDesc") for area in areas)))[:128],
        issued_at=issued_at,
        effective_at=_moment(get("effective")) or _moment(get("onset")),
        expires_at=_moment(get("expires")),
        supersedes=_references(_one(alert, "references")),
        text=get("description") or headline,
        url=url,
        source=source,
    )


def _references(text: str) -> tuple[str, ...]:
    """Identifiers out of ``sender,id,sent sender,id,sent``."""
    return tuple(p[1] for group in text.split() if len(p := group.split(",")) == 3)


def _info(alert: Element) -> Element | None:
    """The Chinese ``info``, else the first: several are the same message in several languages."""
    infos = _all(alert, "info")
    chinese = [info for info in infos if _one(info, "language").lower().startswith("zh")]
    return next(iter(chinese or infos), None)


def _adcode(areas: list[Element]) -> str:
    for area in areas:
        for code in _children(area, "geocode"):
            value = _one(code, "value")
            if re.fullmatch(r"[1-9][0-9]{5}(?:[0-9]{6})?", value):
                return value[:6]
    return ""


def _moment(text: str) -> datetime | None:
    """A CAP time, which must carry its zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo else None


def _local(node: Element) -> str:
    return node.tag.rsplit("}", 1)[-1]


def _all(node: Element, name: str) -> list[Element]:
    return [child for child in node if _local(child) == name]


def _children(node: Element | None, name: str) -> list[Element]:
    return [] if node is None else _all(node, name)


def _one(node: Element, name: str) -> str:
    found = next((child for child in node if _local(child) == name), None)
    return clean_text(found.text or "") if found is not None else ""
