"""What a post is about, as far as joining it to an event needs to know.

Words only; whether a post is relevant, angry, urgent or a rumour was decided by nlp.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from nlp import grams
from nlp.types import Place
from pipeline.domain.event import HAZARD_NAMES
from pipeline.domain.post import AnnotatedPost, Post, mask

RUMOUR_TOPICS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "dam",
        re.compile(
            r"泄洪|放水|开闸|开.{1,3}闸|闸.{0,3}开|"
            r"(?:开始|点|要|同时|一起)放(?:了|$|[，。！？,!? ])|溃坝|决堤|垮坝|溃堤|炸坝|"
            r"水库.{0,8}[放泄漏垮塌险]|(?:大坝|堤坝).{0,6}[裂漏垮塌险]"
        ),
    ),
    ("casualty", re.compile(r"死了|死亡|遇难|失踪|淹死|冲走|被埋|丧生|出人命|死人|尸体|伤亡")),
    ("school", re.compile(r"停课|不(?:用)?上学|放假|停学|复课|补课")),
    ("utility", re.compile(r"停水|停电|断水|断电|断网|停气")),
    ("closure", re.compile(r"封路|封桥|封城|封闭|停运|停航|戒严")),
    (
        "forecast",
        re.compile(
            r"[百千]年一遇|正面登陆|超强台风|1[789]级|史上最|有史以来|连下.{0,4}[天周]|气象局.{0,6}(?:说|发文|通知)"
        ),
    ),
)
"""Topics of rumours. The first that fits leads; a post may have several."""

WIDE_TOPICS = frozenset({"dam", "school", "utility", "forecast"})
"""Topics that are one matter for a whole city: the reservoir's name changes as a rumour mutates."""

COMPLAINT_TOPICS: tuple[tuple[str, str, re.Pattern[str]], ...] = (
    ("dam", "泄洪信息", re.compile(r"泄洪|放水|水库")),
    ("school", "停课信息", re.compile(r"停课|上学|放学|学校|停工|教育局")),
    ("warning", "预警发布", re.compile(r"预警|短信|没收到|没通知|没人通知")),
    ("drainage", "排水内涝", re.compile(r"排水|下水道|内涝|看海|管网|逢雨必|积水|泡水")),
    ("forecast", "天气预报", re.compile(r"预报|预测|报的|不准|气象[局台]|说好的|中雨")),
)

CONSEQUENCE_NAMES = {
    "dam": "水库泄洪、溃坝",
    "casualty": "人员伤亡",
    "closure": "封路停运",
    "school": "停课停学",
    "utility": "停水停电",
    "forecast": "夸大预报",
}
HIGH = frozenset({"dam", "casualty"})
"""Consequences for which a rumour is worth checking at its first post (RULES.md §3)."""

_SOURCED = re.compile(
    r"气象台|应急(?:管理)?局|水利局|官方|通报|发布会|日报|晚报|电视台|新华社|记者"
)
_PASS_ON = re.compile(r"(?:互相|相互|请|速|赶紧)转[告发]|扩散|转给|务必转|收到请")
_SUFFIX = re.compile(
    r"(?:(?:铁路|公路|人行)?(?:立交桥|高架桥|桥)(?:底下?|洞|下)?|大桥|立交|隧道|水库|路口|大道|地铁站|火车站|"
    r"站|小区|片区|一带|街道|社区|村|镇|乡|路|街|巷)$"
)
_MASKED_PHONE = re.compile(r"1[3-9]\d\*{4}\d{2}\*\*|0\d{2,3}-\*{4}\d{2}")
_SPECIFIC = frozenset(
    (
        "flood_point", "bridge", "road", "reservoir", "facility", "station", "landmark",
        "village", "street", "town",
    )
)  # fmt: skip
_HAZARD_ORDER = (
    "geo", "flood", "waterlog", "typhoon", "hail", "thunder", "wind", "snow", "cold", "heat",
    "fog", "haze", "sand", "drought", "rain", "other",
)  # fmt: skip
_HAZARD_RANK = {name: i for i, name in enumerate(_HAZARD_ORDER)}
_GROUP = {"waterlog": "rain", "flood": "rain", "thunder": "rain", "snow": "cold"}


def hazard_group(hazard: str) -> str:
    """Hazards that people mix up in one night of rain count as one: 内涝 and 暴雨."""
    return _GROUP.get(hazard, hazard)


def prefecture_of(adcode: str) -> str:
    """Adcode of the city a place lies in, empty for a province, the country or nothing."""
    return "" if len(adcode) < 6 or adcode[2:4] == "00" else adcode[:4] + "00"


@lru_cache(maxsize=4096)
def stem(name: str) -> str:
    """Core of a place name (two characters or more): 葛村, 葛村路, 葛村路铁路桥 are one."""
    while True:
        core = _SUFFIX.sub("", name)
        if core == name or len(core) < 2:
            return name
        name = core


@dataclass(frozen=True, slots=True)
class Reading:
    """A post as the detector sees it. ``at``: published, whole seconds since 1970 UTC.

    ``prefecture``, ``county``: adcodes, may be empty. ``spot``: stem of the named road, landmark
    or town, empty when no such place is named. ``rumour``: nlp's label, or ``unverified`` for a
    notice without sender. ``call``: a call for help worth its own event.
    """

    post: Post
    item: AnnotatedPost
    at: int
    kind: str
    stance: str
    rumour: str
    hazard: str
    group: str
    prefecture: str
    county: str
    place: Place | None
    spot: str
    official: bool
    call: float
    relevant: bool


def read(item: AnnotatedPost, help_threshold: float) -> Reading:
    """Sort a post's annotation for joining.

    ``help_threshold``: probability from which a post is treated as a call for help even if
    another kind is likelier: a missed call costs more than a look at a wrong one.
    """
    post, ann = item.post, item.annotation
    hazard = ""
    if ann.hazards:
        hazard = (
            ann.hazards[0]
            if len(ann.hazards) == 1
            else min(ann.hazards, key=lambda h: _HAZARD_RANK.get(h, 99))
        )
    place: Place | None = None
    spot = county = prefecture = ""
    called = ann.kind == "help"
    for found in ann.places:
        if called and found.start < 0:
            continue  # where the account is registered says nothing about where help is needed
        if place is None:
            place = found
        if found.level in _SPECIFIC or len(found.adcode) > 6:
            place, spot = found, stem(found.name)
            break
    if place is not None:
        prefecture = prefecture_of(place.adcode)
        named = place.start >= 0 or bool(place.level and spot)
        county = place.adcode[:6] if named and place.adcode[4:6] not in ("", "00") else ""
    official = ann.kind == "official" or post.author_kind == "government"
    rumour = ann.rumour
    if official and rumour == "none" and _is_bare_notice(post):
        official, rumour = False, "unverified"
    stance = "spread" if rumour == "unverified" else "other" if rumour == "none" else rumour
    if official and stance == "spread":
        stance = "other"
    call = 0.0
    if ann.relevant or ann.kind == "help":
        scores = ann.scores.get("kind")
        p = scores.get("help", 0.0) if scores else float(ann.kind == "help")
        # who asks whether a rumour is true sounds like a call; only the likeliest kind counts then
        if p >= help_threshold and not official and (called or rumour == "none"):
            call = p
    return Reading(
        post=post,
        item=item,
        at=int(post.published_at.timestamp()),
        kind=ann.kind,
        stance=stance,
        rumour=rumour,
        hazard=hazard,
        group=hazard_group(hazard),
        prefecture=prefecture,
        county=county,
        place=place,
        spot=spot,
        official=official,
        call=call,
        relevant=call > 0.0 or (ann.relevant and ann.kind != "irrelevant"),
    )


def _is_bare_notice(post: Post) -> bool:
    """A notice with consequences, in official words, to be passed on, from a private account.

    The commonest form of made-up notices: it is a claim to check, whatever
    its style says.
    """
    return (
        post.author_kind == "person"
        and not post.verified
        and _PASS_ON.search(post.text) is not None
        and bool(rumour_topics(post.text))
    )


def rumour_topics(text: str) -> tuple[str, ...]:
    """Topics of a rumour's text, the leading one first."""
    return tuple(name for name, pattern in RUMOUR_TOPICS if pattern.search(text))


def complaint_topic(text: str) -> tuple[str, str]:
    """(topic, its Chinese name) of a complaint; ``general`` when none fits."""
    for name, label, pattern in COMPLAINT_TOPICS:
        if pattern.search(text):
            return name, label
    return "general", "气象服务"


def names_a_source(text: str) -> bool:
    """Whether a text says where it has its news from: an office or a medium."""
    return _SOURCED.search(text) is not None


def contacts(text: str) -> tuple[str, ...]:
    """Masked telephone numbers: enough is left of them to tell copies of one call."""
    return tuple(dict.fromkeys(_MASKED_PHONE.findall(text)))


def own_words(post: Post) -> str:
    """The author's own words, or the whole chain when they say nothing (转发, 致敬)."""
    own = post.own_text.strip()
    if post.text != post.own_text and grams.content_length(own) < 8:
        own = post.text
    if post.title and not own.startswith(post.title):
        own = f"{post.title}。{own}"
    return own or post.text


_PIECES = re.compile(r"[^。！？!?;；，,\n\r#【】\s]+")


def key_clause(text: str, pattern: re.Pattern[str] | None = None, limit: int = 34) -> str:
    """The most telling clause of a text, masked, at most ``limit`` characters.

    The clause with the topic's words (or the first of useful length), with what follows while
    there is room.
    """
    parts = [p.strip(" ：:“”\"'…~～—-") for p in _PIECES.findall(text)]
    parts = [
        p
        for p in parts
        if p and "http" not in p and not p.startswith(("@", "//")) and "****" not in p
    ]
    if not parts:
        return mask(text[:limit])[0]
    start = 0
    if pattern is not None:
        start = next((i for i, p in enumerate(parts) if pattern.search(p)), 0)
    else:
        start = next((i for i, p in enumerate(parts) if len(p) >= 8), 0)
    clause = parts[start]
    if len(clause) < 8 and start:
        clause = f"{parts[start - 1]}，{clause}"
    for part in parts[start + 1 :]:
        if len(clause) >= 14 or len(clause) + len(part) + 1 > limit:
            break
        clause = f"{clause}，{part}"
    clause = mask(clause)[0]
    return clause if len(clause) <= limit else clause[: limit - 1] + "…"


def topic_pattern(topic: str) -> re.Pattern[str] | None:
    """The words of a rumour topic."""
    return next((pattern for name, pattern in RUMOUR_TOPICS if name == topic), None)


def wording(text: str) -> list[str]:
    """Clauses to compare, at most eight of the first 300 characters."""
    return grams.clauses(text[:300])[:8]


def at_text(at: datetime) -> str:
    """Beijing wall time of a moment, hours and minutes."""
    from pipeline.clock import BEIJING

    return at.astimezone(BEIJING).strftime("%m-%d %H:%M")


def hazard_name(hazard: str) -> str:
    """Chinese word for a hazard."""
    return HAZARD_NAMES.get(hazard, "天气")
