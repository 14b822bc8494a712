"""Times as Chinese sites write them, read into aware UTC.

Order of attempts: epoch, ``Sat Jul 24 10:11:12 +0800 2021``, RFC 822, yyyyMMddHHmmss, full dates,
relative (刚刚, 3分钟前), 今天/昨天/前天, dates without a year, and dateparser as the last try. A
general parser must not come first: given ``07月21日 16:17`` dateparser silently answers 2007.

A site's clock may run a little ahead, so a time up to five minutes after the fetch is kept. A later
one is moved back where the text left something open (its day or its year) and refused otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import dateparser

from pipeline.clock import BEIJING
from pipeline.domain.post import Precision

AHEAD = timedelta(minutes=5)
EARLIEST_YEAR = 1990
LONGEST = 80  # characters; no site writes a longer time, and long texts are slow to refuse


class ParsedTime(NamedTuple):
    """``at``: aware, UTC. ``precision``: how much of it the source really said.

    ``3小时前`` counts as ``minute`` and ``3天前`` as ``day``: the nearest of the three steps.
    """

    at: datetime
    precision: Precision


_FULL_WIDTH = str.maketrans("０１２３４５６７８９：－／．　", "0123456789:-/. ")
_LEAD = re.compile(
    r"^[\s(（\[【]*(?:(?:发布|发表|编辑|更新|修改|创建|来信|提交|留言|回复)(?:于|时间|日期)|时间|日期)"
    r"\s*[:：]?\s*"
)
_TAIL = re.compile(r"\s*(?:转赞人数超过.*|来自.*|[)）\]】]+)$", re.DOTALL)

_CLOCK = (
    r"(?P<part>凌晨|清晨|早上|早晨|上午|中午|下午|傍晚|晚上)?\s*(?P<h>[0-9]{1,2})\s*[:：时点]\s*"
    r"(?:(?P<mi>[0-9]{1,2})\s*分?(?:\s*[:：]?\s*(?P<s>[0-9]{1,2})(?:\.[0-9]+)?\s*秒?)?)?"
)
_ZONE = r"\s*(?P<zone>Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})?"
_DATE = (
    r"(?P<y>(?:19|20)[0-9]{2})\s*[-/.年]\s*(?P<mo>[0-9]{1,2})\s*[-/.月]\s*(?P<d>[0-9]{1,2})\s*日?"
)
_FULL = re.compile(rf"{_DATE}(?:[T\s,，]*{_CLOCK}{_ZONE})?")
_SHORT = re.compile(
    rf"(?P<mo>[0-9]{{1,2}})\s*[-/月]\s*(?P<d>[0-9]{{1,2}})\s*[日号]?(?:[\s,，]*{_CLOCK})?"
)
_DAYWORD = re.compile(rf"(?P<word>今天|今日|昨天|昨日|前天)?[\s,，]*(?:{_CLOCK})?")
_COMPACT = re.compile(
    r"((?:19|20)[0-9]{2})([0-9]{2})([0-9]{2})(?:([0-9]{2})([0-9]{2})([0-9]{2})?)?"
)
_ASCTIME = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) +([0-9]{1,2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) "
    r"([+-][0-9]{4}) ([0-9]{4})"
)
_RFC822 = re.compile(
    r"(?:[A-Z][a-z]{2,8},?\s+)?[0-9]{1,2}\s+[A-Z][a-z]{2,8}\s+[0-9]{2,4}\s+[0-9:]+.*"
)
_AGO = re.compile(
    r"(?P<n>[0-9]{1,6}|半|[一二两三四五六七八九十])\s*(?:个(?P<half>半)?)?\s*"
    r"(?P<unit>秒钟?|分钟?|小时|钟头|天|日|周|星期|月|年)\s*[之以]?(?:前|内)"
)
_MONTHS = {
    "Jan": 1, "Feb": 2, "Mar": 3, "Apr": 4, "May": 5, "Jun": 6,
    "Jul": 7, "Aug": 8, "Sep": 9, "Oct": 10, "Nov": 11, "Dec": 12,
}  # fmt: skip
_NUMERALS = dict(zip("一二三四五六七八九十", range(1, 11), strict=True)) | {"两": 2, "半": 0.5}
_UNITS: dict[str, tuple[float, Precision]] = {
    "秒": (1, "second"),
    "分": (60, "minute"),
    "小": (3600, "minute"),
    "钟": (3600, "minute"),
    "天": (86400, "day"),
    "日": (86400, "day"),
    "周": (7 * 86400, "day"),
    "星": (7 * 86400, "day"),
    "月": (30 * 86400, "day"),
    "年": (365 * 86400, "day"),
}
_DAYS_BACK = {"今": 0, "昨": 1, "前": 2}


def parse_time(raw: str | int | float, fetched_at: datetime) -> ParsedTime | None:
    """The time that ``raw`` says, for a page fetched at ``fetched_at`` (aware).

    Text without a zone is Beijing time. ``None`` when it cannot be read or lies in the future;
    never raises for any text.
    """
    if isinstance(raw, (int, float)):
        return _checked(_from_epoch(float(raw)), "second", fetched_at)
    if len(raw) > LONGEST:
        return None
    whole = len(raw) >= 19 and raw[4] == "-" and raw[16] == ":"
    if whole and (iso := _from_iso(raw)) is not None:
        return _checked(iso, "second", fetched_at)  # the common case of files, made quick
    text = _TAIL.sub("", _LEAD.sub("", raw.translate(_FULL_WIDTH))).strip()
    if not text:
        return None
    for read in _READERS:
        found = read(text, fetched_at)
        if found is not None:
            return _checked(found.at, found.precision, fetched_at)
    return _last_try(text, fetched_at)


def find_time(text: str, fetched_at: datetime) -> tuple[str, ParsedTime] | None:
    """The first full date within a longer text (a by-line), and how it was written."""
    for match in _FULL.finditer(text.translate(_FULL_WIDTH)):
        found = _of_full(match)
        if found and (good := _checked(found.at, found.precision, fetched_at)):
            return match.group(0).strip(), good
    return None


def from_excel_serial(serial: float, fetched_at: datetime) -> ParsedTime | None:
    """Days since 1899-12-30, as a spreadsheet keeps dates (Beijing time)."""
    if not 30000 <= serial < 80000:  # 1982 to 2119
        return None
    at = datetime(1899, 12, 30, tzinfo=BEIJING) + timedelta(seconds=round(serial * 86400))
    return _checked(at, "day" if serial == int(serial) else "second", fetched_at)


def _checked(at: datetime | None, precision: Precision, fetched_at: datetime) -> ParsedTime | None:
    if at is None:
        return None
    try:
        at = at.astimezone(UTC)
    except (OverflowError, ValueError):
        return None
    if at.year < EARLIEST_YEAR or at > fetched_at + AHEAD:
        return None
    return ParsedTime(at, precision)


def _from_epoch(number: float) -> datetime | None:
    if 1e12 <= number < 1e13:
        number /= 1000
    if not 1e8 <= number < 1e10:
        return None
    return datetime.fromtimestamp(number, UTC)


def _from_iso(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=BEIJING)


def _epoch(text: str, _: datetime) -> ParsedTime | None:
    if not re.fullmatch(r"[0-9]{10}|[0-9]{13}", text):
        return None
    at = _from_epoch(float(text))
    return ParsedTime(at, "second") if at else None


def _asctime(text: str, _: datetime) -> ParsedTime | None:
    match = _ASCTIME.fullmatch(text)
    if match is None or match.group(1) not in _MONTHS:
        return None
    month, day, h, mi, s, zone, year = match.groups()
    iso = f"{year}-{_MONTHS[month]:02d}-{int(day):02d}T{h}:{mi}:{s}{zone}"
    at = _from_iso(iso)
    return ParsedTime(at, "second") if at else None


def _rfc822(text: str, _: datetime) -> ParsedTime | None:
    if not _RFC822.fullmatch(text):
        return None
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # "-0000" and a missing zone come back naive; feeds of Chinese sites mean Beijing by that.
    return ParsedTime(at if at.tzinfo else at.replace(tzinfo=BEIJING), "second")


def _compact(text: str, _: datetime) -> ParsedTime | None:
    match = _COMPACT.fullmatch(text)
    if match is None:
        return None
    at = _local(*(int(g or 0) for g in match.groups()))
    if at is None:
        return None
    return ParsedTime(at, "second" if match.group(6) else "minute" if match.group(4) else "day")


def _full(text: str, _: datetime) -> ParsedTime | None:
    match = _FULL.fullmatch(text)
    return _of_full(match) if match else None


def _of_full(match: re.Match[str]) -> ParsedTime | None:
    hour, minute, second, precision = _clock(match)
    at = _local(int(match["y"]), int(match["mo"]), int(match["d"]), hour, minute, second)
    if at is None:
        return None
    zone = match["zone"]
    if zone:
        utc = zone in ("Z", "UTC", "GMT")
        aware = _from_iso(f"{at:%Y-%m-%dT%H:%M:%S}" + ("+00:00" if utc else zone))
        if aware is None:
            return None
        at = aware
    return ParsedTime(at, precision)


def _ago(text: str, fetched_at: datetime) -> ParsedTime | None:
    if text in ("刚刚", "刚才", "just now"):
        return ParsedTime(fetched_at, "minute")
    match = _AGO.fullmatch(text)
    if match is None:
        return None
    amount = float(_NUMERALS[match["n"]] if match["n"] in _NUMERALS else match["n"])
    if match["half"]:
        amount += 0.5
    seconds, precision = _UNITS[match["unit"][0]]
    try:
        return ParsedTime(fetched_at - timedelta(seconds=amount * seconds), precision)
    except OverflowError:
        return None


def _dayword(text: str, fetched_at: datetime) -> ParsedTime | None:
    match = _DAYWORD.fullmatch(text)
    if match is None or (match["word"] is None and match["mi"] is None):
        return None
    hour, minute, second, precision = _clock(match)
    today = fetched_at.astimezone(BEIJING)
    at = _local(today.year, today.month, today.day, hour, minute, second)
    if at is None:
        return None
    at -= timedelta(days=_DAYS_BACK[match["word"][0]] if match["word"] else 0)
    if at > fetched_at + AHEAD:  # a page kept since before midnight still says 今天
        at -= timedelta(days=1)
    return ParsedTime(at, precision)


def _short(text: str, fetched_at: datetime) -> ParsedTime | None:
    match = _SHORT.fullmatch(text)
    if match is None:
        return None
    hour, minute, second, precision = _clock(match)
    this_year = fetched_at.astimezone(BEIJING).year
    for year in range(this_year, this_year - 9, -1):  # nine years always hold a 29 February
        at = _local(year, int(match["mo"]), int(match["d"]), hour, minute, second)
        if at is not None and at <= fetched_at + AHEAD:
            return ParsedTime(at, precision)
    return None


_READERS: tuple[Callable[[str, datetime], ParsedTime | None], ...] = (
    _epoch,
    _asctime,
    _rfc822,
    _compact,
    _full,
    _ago,
    _dayword,
    _short,
)


def _last_try(text: str, fetched_at: datetime) -> ParsedTime | None:
    """Ask dateparser, and believe it only near the fetch or when the text names the year."""
    if not re.search(r"[0-9一二三四五六七八九十周月日]", text):
        return None
    local = fetched_at.astimezone(BEIJING)
    settings = {
        "RELATIVE_BASE": local.replace(tzinfo=None),
        "PREFER_DATES_FROM": "past",
        "REQUIRE_PARTS": ["day"],
    }
    try:
        found = dateparser.parse(text, languages=["zh"], settings=settings)
    except Exception:  # a last try on text from anywhere: whatever it trips over means "no"
        return None
    if found is None:
        return None
    at = found if found.tzinfo else found.replace(tzinfo=BEIJING)
    named = str(found.year) in text
    if not named and not timedelta(0) <= fetched_at - at <= timedelta(days=366):
        return None
    precision: Precision = "minute" if re.search(r"[0-9一-十][:：时点]", text) else "day"
    return _checked(at, precision, fetched_at)


def _clock(match: re.Match[str]) -> tuple[int, int, int, Precision]:
    if match["h"] is None:
        return 0, 0, 0, "day"
    hour = int(match["h"])
    part = match["part"] or ""
    if hour < 12 and (part in ("下午", "傍晚", "晚上") or (part == "中午" and hour < 6)):
        hour += 12
    precision: Precision = "second" if match["s"] else "minute"
    return hour, int(match["mi"] or 0), int(match["s"] or 0), precision


def _local(
    year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0
) -> datetime | None:
    if hour == 24 and minute == 0:
        hour, minute, second = 23, 59, 59
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=BEIJING)
    except ValueError:
        return None
