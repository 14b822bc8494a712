"""Places our lists do not hold, told only by the ending of their names: 云表镇, 拉浪水库.

Such a name has no code of its own; it gets the code of the division named with it, else of the
account's place, else none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

from nlp.types import Place

MOST = 32
"""Endings looked at in one text, so that no text is slow."""

# The ending of a name, and what may follow it.
_ENDING = re.compile(
    r"(水电站|水库|大桥|大坝|立交|隧道|高速|机场|街道|大道|[镇乡路村岛]|(?<=[东西南北])站)"
    r"(?=$|[^一-龥]|[的在有又被和与及到这那边一上下口附全发今昨已积水淹停出塌进北南东西段政中卫小往从"
    r"处地老群干对受因部桥])"
)
_LEADS = "在到从去于和与跟往至沿离过县区市省州把说讲听是回住由经自"
_RUN = re.compile(r"[一-龥]*$")
_LEVEL_OF_END = {
    "水电站": "reservoir",
    "水库": "reservoir",
    "大坝": "reservoir",
    "大桥": "bridge",
    "立交": "bridge",
    "隧道": "road",
    "高速": "road",
    "大道": "road",
    "街道": "street",
    "机场": "landmark",
    "镇": "town",
    "乡": "town",
    "村": "village",
    "路": "road",
    "岛": "landmark",
    "站": "landmark",
}
_WORDS_IN = (
    "的了着这那哪每各某本几半么什啥都也又再还就只很没不是被把给跟走修封堵让问绕等说讲听跑"
    "停淹积塌断跨怕别找过懂救求帮请"
)
_WORDS_BEFORE = (
    "[全两各一整隔我你他咱同盘回出乡城进沿个]|目前|部分|国家|方向|低洼|今早|昨晚|水泥|气象|乡间|中间|危险|后来|"
    "上班|下班|感谢|食堂|雨后|座下|高速|地铁|公交|火车|客运|汽车|服务|加油|收费|变电|泵|充电|雨量|监测|自动"
)
_WORDS_AFTER = "[上已线泥板马公铁道山条分段放枉考门水冻场小家乡城农个们岔近远半桥街涉孤]|时候|江心"
_NOT_A_NAME = re.compile(
    rf"[{_WORDS_IN}]|^(?:{_WORDS_BEFORE})|(?:{_WORDS_AFTER})$|以[上下内外]|盘山|低洼|认得"
)


def unlisted_places(text: str, known: Sequence[Place], fallback: str = "") -> list[Place]:
    """Names told by their ending that do not overlap the ``known`` places of the text.

    ``fallback``: division code where the text names no division.
    """
    found: list[Place] = []
    for match in islice(_ENDING.finditer(text), MOST):
        taken = [*known, *found]
        start = _name_start(text, match.start(), taken)
        end = match.end()
        if start < 0 or any(place.start < end and start < place.end for place in taken):
            continue
        if _NOT_A_NAME.search(text[start : match.start()]):
            continue
        code = _division_beside(known, start) or fallback
        why = "词库之外，按名称结尾识别" + ("" if code else "，所在地未知")
        level = _LEVEL_OF_END[match.group(1)]
        found.append(Place(code, text[start:end], start, end, level, why))
    return found


def _name_start(text: str, ending: int, places: Sequence[Place]) -> int:
    """Where the name before an ending begins, -1 when nothing marks its beginning."""
    longest = 5 if text[ending] == "乡" else 4 if text[ending] in "水大机立隧" else 3
    floor = max((p.end for p in places if p.end <= ending), default=0)
    low = max(floor, ending - longest)
    run = _RUN.search(text, low, ending)
    start = run.start() if run is not None else ending
    lead = max((text.rfind(sign, start, ending) for sign in _LEADS), default=-1)
    if lead >= 0:
        start = lead + 1
    elif (
        start == low
        and low > floor
        and "一" <= text[low - 1] <= "龥"
        and text[low - 1] not in _LEADS
    ):
        return -1
    return start if ending - start >= 2 else -1


def _division_beside(places: Sequence[Place], start: int) -> str:
    """Code of the last division named before a position, else of the first one after it."""
    divisions = [p for p in places if p.adcode and p.adcode != "100000"]
    before = [p for p in divisions if p.start < start]
    if before:
        return max(before, key=lambda p: p.start).adcode
    return divisions[0].adcode if divisions else ""
