"""Who issued a warning and when, by the words of the text; and whether that is long past."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

BEIJING = timezone(timedelta(hours=8))

STALE_AFTER = timedelta(hours=24)
"""A warning told anew a day after its stated time is old news: signals last hours."""

_STATION = re.compile(
    r"(?P<station>[一-龥]{2,12}?(?:气象(?:台|局|中心|站|服务中心)|预警(?:信息)?发布中心))"
)
_STATION_LEAD = re.compile(
    r"^.*(?:消息|来自|根据|转自|转发|刚刚|刚才|今天|今日|今晨|昨天|昨日|目前|收到|接到|获悉|按照|听|看|见|讲|说|是|让|"
    r"从(?!江|化)|据|由|和(?!浩特|田|平|顺|静|硕|政|林格尔|龙|县)|与|及|经(?!开)|受|将|被|给|等|"
    r"(?<=[0-9一二三四五六七八九十])[月日号时分点]|"
    r"凌晨|早上|早晨|上午|中午|下午|傍晚|晚上|夜间|晚间)"
)

_TIME = re.compile(
    r"(?=[0-9今昨刚凌早上中下傍晚夜])"  # without it every position of a text would match empty
    r"(?:(?:(?P<year>20\d\d)年)?(?P<month>\d{1,2})月(?P<day>\d{1,2})[日号]|"
    r"(?<![\d.])(?P<only>\d{1,2})(?:日|号(?![楼线门台洪公口院店车机国库桥路]))|"
    r"(?P<iso>20\d\d[-/.]\d{1,2}[-/.]\d{1,2})|"
    r"(?P<near>今天|今日|今晨|今晚|今早|昨天|昨日|昨晚|昨夜|刚刚))?"
    r"\s*(?:凌晨|早上|早晨|上午|中午|下午|傍晚|晚上|夜间|晚间|晚|夜里)?\s*"
    r"(?:(?P<hour>[01]?\d|2[0-4])"
    r"(?:[时点](?:(?P<minute>[0-5]?\d)分?|半|整|许)?|[:：](?P<minute2>[0-5]\d)))?"
)


def read_source(text: str, published_at: datetime | None) -> tuple[str, str, bool]:
    """(station, time as written, stale), empty strings where the text names none.

    ``published_at``: aware; without it nothing is called stale.
    """
    station = ""
    found = _STATION.search(text)
    if found is not None:
        station = found.group("station")
        if text[found.start() - 1 : found.start()].isdigit():
            station = station[
                station[0] in "年月日号时分点" :
            ]  # 9时日照市气象台: the 时 is the clock's
        station = _STATION_LEAD.sub("", station) or station
    best = ""
    stale = False
    for match in _TIME.finditer(text):
        said = match.group(0).strip()
        dated = match.group("month") or match.group("only") or match.group("iso")
        if not said or not (match.group("hour") or dated or match.group("near")):
            continue
        if match.group("near") and not match.group("hour") and best:
            continue
        if not best or (match.group("hour") and not re.search(r"[时点:：]", best)):
            best = said
            stale = _is_stale(match, published_at)
    return station, best, stale


def _is_stale(match: re.Match[str], published_at: datetime | None) -> bool:
    """Whether the stated date lies long before the post; a time without a date never does."""
    if published_at is None:
        return False
    here = published_at.astimezone(BEIJING)
    iso = match.group("iso")
    try:
        if iso:
            year, month, day = (int(part) for part in re.split(r"[-/.]", iso))
        elif match.group("month"):
            month, day = int(match.group("month")), int(match.group("day"))
            year = int(match.group("year") or here.year)
        elif match.group("only"):
            year, month, day = here.year, here.month, int(match.group("only"))
        else:
            return False
        hour = min(int(match.group("hour") or 23), 23)
        minute = int(match.group("minute") or match.group("minute2") or 0)
        stated = datetime(year, month, day, hour, minute, tzinfo=BEIJING)
    except ValueError:
        return False  # 2月30日: not a time, and no ground to call the text old
    if not iso and not match.group("year") and stated > here + timedelta(days=2):
        # 12月31日 told in January; a bare 28日 told on the 3rd
        if match.group("month"):
            stated = _with_year(stated, year - 1)
        else:
            first = stated.replace(day=1)
            last_month = first - timedelta(days=1)
            stated = stated.replace(
                year=last_month.year, month=last_month.month, day=min(stated.day, last_month.day)
            )
    return here - stated > STALE_AFTER


def _with_year(moment: datetime, year: int) -> datetime:
    try:
        return moment.replace(year=year)
    except ValueError:  # 29 February
        return moment.replace(year=year, day=28)
