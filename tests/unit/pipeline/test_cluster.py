"""Which event does a post belong to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from nlp.types import ClaimMatch, Place
from pipeline.domain.event import HeatWeights
from pipeline.domain.post import AnnotatedPost, Counts
from pipeline.domain.rules import ClusterRules
from pipeline.stages.cluster import Clusters
from pipeline.stages.matter import (
    complaint_topic,
    key_clause,
    read,
    rumour_topics,
    stem,
    topic_pattern,
)
from pipeline.stages.memory import EventState
from tests.flow.annotated import post

DAM = (Place("450108", "大王滩水库", 0, 5, level="reservoir"),)
ROAD = (Place("450103", "葛村路", 0, 3, level="road"),)
BRIDGE = (Place("450103", "葛村路铁路桥底", 0, 7, level="flood_point"),)
LIUZHOU = (Place("450200", "柳州", 0, 2, level="city"),)


@dataclass
class Feed:
    """Places posts one after the other, as the detector does."""

    clusters: Clusters = field(default_factory=lambda: Clusters(ClusterRules()))
    count: int = 0

    def __call__(self, text: str, minutes: float = 0.0, **more: Any) -> EventState | None:
        self.count += 1
        return self.take(post(self.count, text, minutes, **more))

    def take(self, item: AnnotatedPost) -> EventState | None:
        reading = read(item, 0.35)
        placement = self.clusters.place(reading)
        event = placement.event
        if event is not None:
            ref = self.clusters.join(event, reading, placement.copy_of, self.count)
            event.add(reading, ref.stance, bool(placement.copy_of), self.count, HeatWeights())
        return event


@pytest.fixture
def feed() -> Feed:
    return Feed()


def rumour(feed: Feed, text: str, minutes: float = 0.0, **more: Any) -> EventState | None:
    values: dict[str, Any] = {"rumour": "unverified", "hazards": ("flood",), "places": DAM} | more
    return feed(text, minutes, **values)


def test_a_near_copy_joins_and_folds(feed: Feed) -> None:
    text = "紧急通知：大王滩水库今晚十点泄洪，下游的赶紧把车开走，别等水来了"
    first = rumour(feed, text)
    again = rumour(feed, text + "！！！", 60, places=())
    assert first is not None
    assert again is first
    assert (first.posts, first.unique_posts) == (2, 1)


def test_a_copy_years_later_is_a_new_matter(feed: Feed) -> None:
    text = "紧急通知：大王滩水库今晚十点泄洪，下游的赶紧把车开走，别等水来了"
    assert rumour(feed, text) is not rumour(feed, text, 60 * 24 * 365)


def test_a_repost_goes_with_its_original_even_without_words(feed: Feed) -> None:
    first = rumour(feed, "听说大王滩水库今晚要泄洪，大家当心")
    origin = post(1, "").post.id
    bare = feed("转发微博", 5, repost_of=origin, kind="irrelevant", relevant=False, sketch=False)
    assert bare is first
    assert first is not None
    assert first.spread == 2  # passing on without a word is spreading
    denied = feed(
        "假的，水利局说没有//@某人:听说大王滩水库今晚要泄洪，大家当心", 6,
        root=origin, rumour="debunk",
    )  # fmt: skip
    assert denied is first
    assert first.debunk == 1


def test_an_irrelevant_post_never_joins_by_wording(feed: Feed) -> None:
    text = "紧急通知：大王滩水库今晚十点泄洪，下游的赶紧把车开走，别等水来了"
    rumour(feed, text)
    assert feed(text, 3, kind="irrelevant", relevant=False) is None


def test_very_short_posts_found_nothing(feed: Feed) -> None:
    assert rumour(feed, "泄洪？", sketch=False, places=()) is None
    assert feed("好大雨", sketch=False) is None


def test_a_confirmed_claim_leads_to_its_event_whatever_the_words(feed: Feed) -> None:
    claim = (ClaimMatch("R0042", 0.9, "confirm"),)
    first = rumour(feed, "说是白沙大道的车全被冲走了，视频都有", claims=claim, places=())
    other = feed("看见小区群里发的那个，吓得我一晚没睡好觉", 30, claims=claim)
    assert first is not None
    assert other is first
    assert first.claim_id == "R0042"


def test_a_suggested_claim_alone_joins_nothing(feed: Feed) -> None:
    claim = (ClaimMatch("R0042", 0.4, "suggest"),)
    assert feed("今天的雨和那年一样大，想起以前的事", claims=claim) is None


def test_a_rumour_of_one_city_stays_one_while_it_mutates(feed: Feed) -> None:
    first = rumour(feed, "刚听我姐夫讲，大王滩水库今晚要泄洪，让下游的先准备")
    tunliu = (Place("450108", "屯六水库", 5, 9, "reservoir"),)
    for minutes, text, places, label in (
        (10, "不是大王滩，是屯六水库要放水", tunliu, "unverified"),
        (20, "据说为了泄洪今晚全城停水三天，超市都抢空了", (), "unverified"),
        (30, "泄洪是真的还是假的啊，有没有人知道", (), "question"),
        (40, "别传了，大王滩没有泄洪，值班的在岗", DAM, "debunk"),
        (50, "第三版了，说零点八个闸全开，还有完没完", DAM, "unverified"),
    ):  # fmt: skip
        assert rumour(feed, text, minutes, places=places, rumour=label) is first, text
    assert first is not None
    assert (first.spread, first.question, first.debunk) == (4, 1, 1)
    assert "utility" in first.topics


def test_two_cities_two_rumours(feed: Feed) -> None:
    here = rumour(feed, "听说大王滩水库今晚要泄洪，让下游的先准备")
    there = rumour(feed, "柳州这边说上游水电站要泄洪，沿江都在搬", 5, places=LIUZHOU)
    assert here is not there


def test_another_wording_of_one_rumour_is_found_by_rare_words(feed: Feed) -> None:
    first = rumour(feed, "网传青秀山上的观音塔被雷劈成两半了", hazards=("thunder",), places=())
    same = rumour(
        feed, "青秀山观音塔真的被雷劈成两半了吗？", 60 * 5, rumour="question",
        hazards=("thunder",), places=(),
    )  # fmt: skip
    other = rumour(feed, "网传五象新区地铁站被水灌满停运了", 60 * 5, places=())
    assert first is not None
    assert same is first
    assert other is not first


def test_a_notice_without_sender_is_a_claim_to_check(feed: Feed) -> None:
    text = "【通知】经研究决定，明日南宁全市中小学停课一天，请互相转告。教育主管部门（宣）"
    event = feed(text, kind="official")
    assert event is not None
    assert (event.kind, event.spread, event.official) == ("rumour", 1, 0)
    assert Feed()(text, kind="official", author_kind="government") is None
    assert Feed()("南宁市气象台发布暴雨橙色预警，请互相转告注意防范", kind="official") is None


def test_hearsay_damage_is_no_rumour(feed: Feed) -> None:
    event = feed(
        "听说葛村路那边桥底又积水了，水到膝盖", kind="impact", urgency=1, rumour="unverified",
        hazards=("waterlog",), places=ROAD,
    )  # fmt: skip
    assert event is not None
    assert event.kind == "damage"


def damage(feed: Feed, minutes: float, places: tuple[Place, ...], **more: Any) -> EventState | None:
    values: dict[str, Any] = {"urgency": 1, "hazards": ("waterlog",), "sketch": False} | more
    text = f"这里的水又涨上来了，第{feed.count}次看"
    return feed(text, minutes, kind="impact", places=places, **values)


def test_damage_at_one_place_by_any_of_its_names_within_three_hours(feed: Feed) -> None:
    first = damage(feed, 0, ROAD)
    assert damage(feed, 100, BRIDGE, hazards=("rain",)) is first
    assert damage(feed, 100 + 179, ROAD) is first
    assert damage(feed, 100 + 179 + 181, ROAD) is not first
    assert damage(feed, 10, (Place("450105", "淡村", 0, 2, level="village"),)) is not first
    assert damage(feed, 11, ROAD, hazards=("wind",)) is not first
    assert damage(feed, 12, (Place("450100", "南宁", 0, 2, level="city"),)) is None
    assert damage(feed, 12, ROAD, urgency=0) is None


def test_a_police_notice_joins_damage_and_founds_none(feed: Feed) -> None:
    notice = {"kind": "official", "author_kind": "government", "hazards": ("waterlog",)}
    assert feed("葛村路积水，请绕行", 0, places=ROAD, **notice) is None
    first = damage(feed, 5, ROAD)
    assert first is not None
    assert feed("葛村路铁路桥底积水六十厘米，已封闭", 9, places=BRIDGE, **notice) is first
    assert first.official == 1


def complaint(feed: Feed, text: str, minutes: float, **more: Any) -> EventState | None:
    return feed(text, minutes, kind="service", sentiment="neg", **more)


def test_complaints_meet_by_topic_and_city_within_two_hours(feed: Feed) -> None:
    first = complaint(feed, "预报说中雨，结果下成这样，气象局干什么吃的", 0)
    assert complaint(feed, "天气预报什么时候准过，我服了", 119) is first
    assert complaint(feed, "一条预警短信都没收到，等水进屋了才知道", 119) is not first
    assert complaint(feed, "天气预报什么时候准过，真服", 119, places=LIUZHOU) is not first
    assert complaint(feed, "还说会停雨，预报又错了，气死我了", 119 + 121) is not first
    assert feed("天气预报这次很准，谢谢", 1, kind="service", sentiment="pos") is None


def call(feed: Feed, text: str, minutes: float = 0.0, **more: Any) -> EventState | None:
    values: dict[str, Any] = {"places": ROAD, "hazards": ("waterlog",)} | more
    return feed(text, minutes, kind="help", urgency=3, **values)


def test_two_households_are_two_calls(feed: Feed) -> None:
    first = call(feed, "求救！葛村路有老人被困二楼，电话138****12**，快来人")
    assert call(feed, "求救！葛村路有老人被困二楼，电话138****77**，快来人", 3) is not first
    assert call(feed, "葛村路我家地下室进水，两个小孩在楼上出不来", 4) is not first
    elsewhere = (Place("450105", "白沙大道", 0, 4, level="road"),)
    same_template = "求救！白沙大道有老人被困二楼，电话138****12**，快来人"
    assert call(feed, same_template, 5, places=elsewhere) is not first


def test_copies_of_a_call_are_one(feed: Feed) -> None:
    first = call(feed, "求救！葛村路有老人被困二楼，电话138****12**，快来人")
    assert call(feed, "扩散！葛村路有老人被困二楼，电话138****12**，快来人啊", 3) is first
    assert call(feed, "转：葛村路老人还困在二楼，联系138****12**", 9) is first


def test_a_call_is_not_lost_in_another_event(feed: Feed) -> None:
    text = "葛村路桥底水很深了，我们车里有两个小孩出不来，水到窗了"
    first = damage(feed, 0, ROAD)
    same_words = feed(text, 1, kind="impact", urgency=2, places=ROAD, hazards=("waterlog",))
    assert same_words is first
    asked = feed(text + "救命", 2, kind="help", places=ROAD, hazards=("waterlog",))
    assert asked is not None
    assert asked.kind == "help"


def test_an_unsure_call_is_a_call_and_an_asked_rumour_is_not(feed: Feed) -> None:
    unsure = feed("水到胸口了没人管我们吗", kind="impact", help_p=0.4, places=ROAD)
    assert unsure is not None
    assert unsure.kind == "help"
    asked = rumour(feed, "大王滩泄洪真的吗，我妈都吓哭了谁来说句话", rumour="question", help_p=0.4)
    assert asked is not None
    assert asked.kind == "rumour"


def test_talk_makes_no_event(feed: Feed) -> None:
    assert feed("下班。雨。没伞。南宁你每次都挑这个点。") is None
    assert feed("给环卫师傅点赞，辛苦了大雨天", kind="service", sentiment="pos") is None


def test_titles_are_short_readable_and_masked(feed: Feed) -> None:
    event = rumour(
        feed, "大家注意啊，刚听我姐夫讲，大王滩水库今晚要泄洪，让下游的先准备，打13912345678问"
    )
    assert event is not None
    assert event.title.startswith("网传：")
    assert "大王滩水库今晚要泄洪" in event.title
    long = call(feed, "我们这里葛村路" + "水" * 80 + "，电话13912345678", 3)
    assert long is not None
    assert len(long.title) <= 40
    assert "13912345678" not in event.title + long.title


@pytest.mark.parametrize(
    ("name", "core"),
    [("葛村路铁路桥底", "葛村"), ("葛村路", "葛村"), ("大王滩水库", "大王滩"), ("大王滩", "大王滩"),
     ("民族大道", "民族"), ("五一路", "五一"), ("江桥", "江桥")],
)  # fmt: skip
def test_stems_of_places(name: str, core: str) -> None:
    assert stem(name) == core


def test_topics() -> None:
    assert rumour_topics("大王滩今晚开三个闸")[0] == "dam"
    assert rumour_topics("明天全市停课")[0] == "school"
    assert rumour_topics("雨好大") == ()
    assert complaint_topic("预警短信没收到")[0] == "warning"
    assert complaint_topic("随便说说")[0] == "general"


def test_key_clause_prefers_the_topic() -> None:
    text = "哎。刚刚，大家快看，水库要泄洪了，赶紧走"
    assert key_clause(text, topic_pattern("dam")) == "大家快看，水库要泄洪了，赶紧走"
    assert key_clause(text) == "哎，刚刚，大家快看，水库要泄洪了"


def test_newer_counts_are_heat_where_they_were_counted(feed: Feed) -> None:
    event = rumour(feed, "听说大王滩水库今晚要泄洪，大家当心", counts=Counts(3, 0, 0, 100))
    assert event is not None
    ref = next(iter(feed.clusters.posts.values()))
    later = event.first_at + 3600
    assert event.recount(ref, Counts(10, 2, 0, 50), later, HeatWeights())
    assert (event.reposts, event.comments, event.views) == (10, 2, 100)
    assert event.buckets[later - later % 600]["heat"] == 7 + 1
    assert not event.recount(ref, Counts(4, 2, 0, 50), later, HeatWeights())  # an older message
