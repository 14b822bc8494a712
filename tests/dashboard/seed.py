"""A desk in the middle of a rainstorm night, written through the store and the desk itself.

Everything is invented. ``fill`` takes the time it should be, so the same night can be looked at
with a standing clock (tests) or with the wall clock (a browser).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from sqlalchemy import insert

from nlp.types import Annotation, Place
from pipeline.desk import alerts, assignments, cases, clarifications
from pipeline.domain.alert import fingerprint
from pipeline.domain.event import bucket_of, event_id
from pipeline.domain.post import AnnotatedPost, Counts, Post, post_id
from pipeline.domain.rights import Actor, Role
from pipeline.store import tables as t
from pipeline.store.sql import Store, continue_counters

PASSWORD = "Yongjiang-2026-rain"
_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

PEOPLE = (
    (1, "李值班", Role.DUTY, ""),
    (2, "韦带班", Role.LEADER, ""),
    (3, "黄科长", Role.OFFICE, "气象台"),
    (4, "覃核稿", Role.CHECKER, "业务科"),
    (5, "陆保密", Role.SECRECY, "办公室"),
    (6, "莫签发", Role.SIGNER, ""),
    (7, "蒙系统", Role.ADMIN, ""),
    (8, "农安全", Role.SECURITY, ""),
    (9, "梁审计", Role.AUDITOR, ""),
    (10, "周值班", Role.DUTY, ""),
    (11, "谭主任", Role.OFFICE, "办公室"),
)


@dataclass
class StandingClock:
    """A clock that moves when told to."""

    at: datetime

    def now(self) -> datetime:
        return self.at


def actor(name: str) -> Actor:
    number, _, role, office = next(p for p in PEOPLE if p[1] == name)
    return Actor(number, name, role, office, "127.0.0.1")


@dataclass(frozen=True)
class Matter:
    """One invented matter: what people write about it, and how it grows."""

    key: str
    kind: str
    title: str
    place: str
    adcode: str
    hazard: str
    level: int
    posts: int
    hours: float
    texts: tuple[str, ...]
    sentence: str
    asked: str = ""
    fired_min: int = 6


MATTERS = (
    Matter(
        "dam",
        "rumour",
        "大王滩水库今晚泄洪",
        "良庆区",
        "450108",
        "flood",
        3,
        137,
        2.5,
        (
            "听说大王滩水库今晚泄洪，下游的赶紧搬，转发出去",
            "家人群里都在传大王滩要放水了，是真的吗？有没有官方出来说一句",
            "大王滩水库今晚泄洪！！大沙田玉洞的注意了",
            "刚打水库值班电话，说没有泄洪这回事，别传了",
            "<script>alert(1)</script> 大王滩放水 <b>快跑</b>",
        ),
        "转述 37 条/10 分钟，基线 2；涉及 2 个区；疑与旧谣 R0042 相同（相似度 0.83）",
        "请核实水库调度信息，提供可公开口径",
    ),
    Matter(
        "metro",
        "rumour",
        "地铁 2 号线进水已停运",
        "江南区",
        "450105",
        "waterlog",
        2,
        42,
        1.5,
        ("2 号线进水停了？", "石柱岭站好多水，是不是停运了", "地铁客服说正常运营，别传"),
        "求证 18 条/10 分钟，基线 1；未见官方信息",
        "请会同有关单位核实运营情况",
        14,
    ),
    Matter(
        "baisha",
        "damage",
        "白沙大道铁路桥下积水，多车被淹",
        "江南区",
        "450105",
        "waterlog",
        3,
        88,
        3,
        (
            "白沙大道桥底水到腰了，前面三台车泡着",
            "又是白沙大道！逢雨必淹，排水修了几年了",
            "白沙大道双向堵死，大家绕行",
        ),
        "受灾影响 26 条/30 分钟；最高紧急度 3；负面 71%",
        "请提供降雨实况与预警发布时间",
        25,
    ),
    Matter(
        "late",
        "complaint",
        "吐槽暴雨预警发得太晚",
        "青秀区",
        "450103",
        "rain",
        2,
        63,
        5,
        (
            "雨都下完了才收到橙色预警短信，气象局是干什么吃的",
            "预报中雨结果下成这样，不准不如不报",
            "预警其实 13 点就发了，大家看看公众号",
        ),
        "负面 82%（n=63），为平时同时段 4.1 倍；集中于“预警晚”",
        "请整理预警发布时间线",
        48,
    ),
    Matter(
        "school",
        "rumour",
        "明天全市中小学停课",
        "南宁市",
        "450100",
        "rain",
        2,
        31,
        1,
        ("明天停课？班主任还没通知", "教育局发停课通知了？求图"),
        "求证 12 条/10 分钟；无官方来源",
        "请协调教育部门口径",
        31,
    ),
    Matter(
        "wuming",
        "damage",
        "武鸣双桥镇道路塌方",
        "武鸣区",
        "450110",
        "geo",
        2,
        17,
        4,
        ("双桥往罗波方向塌方，过不去", "塌方处有人在清"),
        "受灾影响 9 条/1 小时；1 处",
        "",
        65,
    ),
    Matter(
        "thanks",
        "praise",
        "感谢值守的气象人员",
        "兴宁区",
        "450102",
        "rain",
        1,
        12,
        6,
        ("预警叫醒了我，挪车及时，谢谢", "半夜还在更新雷达图，辛苦了"),
        "好评 12 条",
        "",
        200,
    ),
    Matter(
        "binyang",
        "talk",
        "宾阳今晚雨势议论",
        "宾阳县",
        "450126",
        "rain",
        1,
        54,
        8,
        ("宾阳这雨下了一天了", "明早还下吗"),
        "议论 54 条，高于基线 1.6 倍",
        "",
        240,
    ),
)

_SENTIMENT = {"rumour": "neu", "damage": "neg", "complaint": "neg", "praise": "pos", "talk": "neu"}
_KIND = {
    "rumour": "talk",
    "damage": "impact",
    "complaint": "service",
    "praise": "service",
    "talk": "talk",
}
_SOURCES = ("weibo_like", "forum", "tieba", "news", "12345")


def fill(store: Store, index: Any, now: datetime, home: Path, rules: Any) -> None:
    """Write the night. ``index`` may be None: then posts have no texts to show."""
    store.create()
    with store.begin(now - timedelta(hours=8)) as tx:
        for number, name, role, office in PEOPLE:
            tx.conn.execute(
                insert(t.users),
                {
                    "id": number,
                    "name": name,
                    "display": name,
                    "role": role.value,
                    "office": office,
                    "password_hash": _HASHER.hash(PASSWORD),
                    "must_change": False,
                    "created_at": now - timedelta(days=30),
                },
            )
        _weather(tx.conn, now)
        _sources(tx.conn, now)
        _claims(tx.conn, now)
        _help(tx.conn, now)
        continue_counters(tx.conn)
    posts: list[AnnotatedPost] = []
    rng = random.Random(7)
    for matter in MATTERS:
        with store.begin(now - timedelta(minutes=matter.fired_min)) as tx:
            posts += _matter(tx, matter, now, rng)
    if index is not None:
        index.put(posts, now)
    _work(store, now, rules)


def fp(key: str) -> str:
    """The fingerprint of a matter's alert."""
    return fingerprint("burst", eid(key), "")


def eid(key: str) -> str:
    matter = next(m for m in MATTERS if m.key == key)
    return event_id(matter.kind, _pid(key, 0))


def _pid(key: str, n: int) -> str:
    return post_id("weibo_like", f"{key}-{n}", "", "", "", "")


def _matter(tx: Any, m: Matter, now: datetime, rng: random.Random) -> list[AnnotatedPost]:
    first = now - timedelta(hours=m.hours)
    found, rows, buckets = [], [], {}
    places: dict[str, int] = {}
    sources: dict[str, int] = {}
    tally = dict.fromkeys(("neg", "neu", "pos", "spread", "question", "debunk"), 0)
    near = {"rumour": ("450105", "450103", "450108"), "complaint": ("450102", "450107", "450109")}
    for n in range(m.posts):
        share = (n / m.posts) ** 0.6
        at = first + timedelta(hours=m.hours) * share - timedelta(seconds=rng.randint(0, 20))
        at = max(first, at)
        text = m.texts[0] if n == 0 else rng.choice(m.texts)
        stance = "debunk" if "别传" in text else "question" if "？" in text else "spread"
        sentiment = _SENTIMENT[m.kind] if rng.random() < 0.7 else rng.choice(("neg", "neu", "pos"))
        adcode = m.adcode if rng.random() < 0.75 else rng.choice(near.get(m.kind, (m.adcode,)))
        source = rng.choice(_SOURCES[:3]) if n else "weibo_like"
        counts = Counts(
            rng.randint(0, 30), rng.randint(0, 40), rng.randint(0, 90), rng.randint(50, 4000)
        )
        copy_of = _pid(m.key, 0) if n and text == m.texts[0] else ""
        post = Post(
            id=_pid(m.key, n),
            source=source,
            native_id=f"{m.key}-{n}",
            url=f"https://example.invalid/{m.key}/{n}",
            author=f"{rng.getrandbits(64):016x}",
            author_kind="person",
            published_at=at,
            fetched_at=at + timedelta(seconds=40),
            text=text,
            place_hint="广西",
            counts=counts,
        )
        a = Annotation(
            model="seed",
            relevant=True,
            kind=_KIND[m.kind],
            sentiment=sentiment,  # type: ignore[arg-type]
            urgency=2 if m.kind == "damage" else 1,
            rumour={"spread": "unverified", "question": "question", "debunk": "debunk"}[stance]
            if m.kind == "rumour"
            else "none",  # type: ignore[arg-type]
            scores={
                "kind": {_KIND[m.kind]: 0.91},
                "sentiment": {sentiment: 0.78},
                "urgency": {"1": 0.66, "2": 0.7},
                "rumour": {"unverified": 0.83},
            },
            reasons={
                "kind": [("泄洪", 1.2), ("今晚", 0.4)],
                "sentiment": [("赶紧", 0.8)],
                "rumour": [("听说", 1.4), ("转发", 0.9)],
                "urgency": [("今晚", 0.5)],
            },
            hazards=(m.hazard,),
            places=(Place(adcode, m.place),),
            tokens=" ".join(text),
        )
        found.append(AnnotatedPost(post, a))
        rows.append(
            {
                "post_id": post.id,
                "event_id": eid(m.key),
                "at": at,
                "seen_at": post.fetched_at,
                "source": source,
                "author": post.author,
                "copy_of": copy_of,
                "stance": stance,
                "kind": a.kind,
                "sentiment": sentiment,
                "urgency": a.urgency,
                "rumour": a.rumour,
                "adcode": adcode,
                "reposts": counts.reposts,
                "comments": counts.comments,
                "likes": counts.likes,
                "views": counts.views,
                "seq": n,
            }
        )
        places[adcode] = places.get(adcode, 0) + 1
        sources[source] = sources.get(source, 0) + 1
        b = buckets.setdefault(
            bucket_of(at),
            dict.fromkeys(("posts", "neg", "neu", "pos", "spread", "question", "debunk"), 0),
        )
        for key in ("posts", sentiment, stance):
            b[key] += 1
        tally[sentiment] += 1
        tally[stance] += 1
    tx.conn.execute(
        insert(t.events),
        {
            "id": eid(m.key),
            "kind": m.kind,
            "title": m.title,
            "hazard": m.hazard,
            "adcode": m.adcode,
            "place_name": m.place,
            "first_post_id": _pid(m.key, 0),
            "first_at": first,
            "first_seen_at": first + timedelta(seconds=40),
            "last_at": rows[-1]["at"],
            "posts": m.posts,
            "unique_posts": sum(not r["copy_of"] for r in rows),
            "heat": float(sum(r["reposts"] for r in rows)),
            "places": places,
            "sources": sources,
            "max_urgency": 3 if m.kind == "damage" else 1,
            "proposed_level": m.level,
            "proposed_reasons": [m.sentence],
            "claim_id": "R0042" if m.key == "dam" else "",
            "updated_at": now,
            "reposts": 240,
            "comments": 310,
            "likes": 800,
            "views": 61_000,
            **tally,
        },
    )
    tx.conn.execute(insert(t.event_posts), rows)
    tx.conn.execute(
        insert(t.event_buckets),
        [
            {"event_id": eid(m.key), "start": start, "heat": float(b["posts"] * 3), **b}
            for start, b in buckets.items()
        ],
    )
    fired = now - timedelta(minutes=m.fired_min)
    tx.conn.execute(
        insert(t.alerts),
        {
            "fingerprint": fp(m.key),
            "rule": "burst",
            "event_id": eid(m.key),
            "level": m.level,
            "kind": m.kind,
            "title": m.title,
            "sentence": m.sentence,
            "figures": {"posts": m.posts},
            "hazard": m.hazard,
            "adcode": m.adcode,
            "place_name": m.place,
            "lead_office": "气象台",
            "helper_offices": ["业务科"],
            "copy_offices": [],
            "warning_texts": [],
            "asked": m.asked,
            "links": [
                {"text": x, "url": f"https://example.invalid/{m.key}/0"} for x in m.texts[:3]
            ],
            "state": "new",
            "fired_at": fired,
            "last_at": now - timedelta(minutes=1),
            "recorded_at": fired,
            "times": 3,
        },
    )
    wait = {1: 60, 2: 30, 3: 10, 4: 5}[m.level]
    tx.conn.execute(
        insert(t.clocks),
        {
            "owner": "alert",
            "owner_id": fp(m.key),
            "name": "unclaimed",
            "label": "认领",
            "started_at": fired,
            "warn50_at": fired + timedelta(minutes=wait / 2),
            "warn80_at": fired + timedelta(minutes=wait * 0.8),
            "due_at": fired + timedelta(minutes=wait),
            "fired": {},
        },
    )
    tx.conn.execute(
        insert(t.deliveries),
        [
            {
                "dedup_key": f"{m.key}-{n}",
                "reason": "alert",
                "fingerprint": fp(m.key),
                "receiver": who,
                "channel": channel,
                "title": m.title,
                "body": m.sentence,
                "state": state,
                "not_before": fired,
                "attempts": 1,
                "created_at": fired,
                "sent_at": fired if state == "sent" else None,
                "last_error": "" if state == "sent" else "邮件服务器拒绝连接",
            }
            for n, (who, channel, state) in enumerate(
                (
                    ("值班室", "log", "sent"),
                    ("气象台", "mail", "failed" if m.key == "dam" else "sent"),
                )
            )
        ],
    )
    return found


def _weather(conn: Any, now: datetime) -> None:
    conn.execute(
        insert(t.processes),
        {
            "id": "P-rain",
            "hazard": "rain",
            "adcode": "450100",
            "opened_at": now - timedelta(hours=7),
            "opened_by": "warning",
        },
    )
    for n, (kind, colour, area, code, minutes) in enumerate(
        (
            ("暴雨", "orange", "南宁市城区", "450100", 190),
            ("雷电", "yellow", "武鸣区", "450110", 215),
            ("地质灾害气象风险", "blue", "马山县、上林县", "450124", 300),
            ("暴雨", "red", "良庆区", "450108", 35),
        )
    ):
        conn.execute(
            insert(t.warnings),
            {
                "id": f"W{n}",
                "hazard": "rain",
                "type_name": kind,
                "colour": colour,
                "action": "issued",
                "station": "南宁市气象台",
                "adcode": code,
                "area": area,
                "issued_at": now - timedelta(minutes=minutes),
                "expires_at": now + timedelta(hours=9),
                "text": f"预计未来 3 小时{area}降雨将持续，请注意防范。",
                "source": "cap",
            },
        )


def _sources(conn: Any, now: datetime) -> None:
    names = (
        "气象预警",
        "市政府网",
        "南宁新闻网",
        "微博样本",
        "本地论坛",
        "12345 公开来信",
        "广西新闻",
        "应急管理局",
        "水利局",
        "南宁晚报",
        "红豆社区",
        "交警发布",
        "贴吧导入",
    )
    for n, name in enumerate(names):
        bad = name == "贴吧导入"
        conn.execute(
            insert(t.source_health),
            {
                "source": name,
                "spider": "importer" if bad else "feed",
                "state": "late" if bad else "ok",
                "reason": "40 分钟没有新文件" if bad else "",
                "every_s": 60.0 + n,
                "runs": 400,
                "last_run_at": now,
                "last_success_at": now - timedelta(minutes=40 if bad else 1),
                "last_post_at": now - timedelta(minutes=3),
                "items": 1200 + n,
                "usual_per_hour": 30.0,
            },
        )
    for part in ("crawl", "annotate", "index", "detect", "alert"):
        conn.execute(
            insert(t.heartbeats), {"part": part, "at": now - timedelta(seconds=4), "lag": 0}
        )


def _claims(conn: Any, now: datetime) -> None:
    for n, (claim, verdict, correction) in enumerate(
        (
            ("大王滩水库今晚泄洪", "失实", "水库当前水位低于汛限水位，没有泄洪安排。"),
            ("明天全市停课", "失实", "停课以教育部门正式通知为准。"),
            ("台风将正面登陆南宁", "失实", "南宁为内陆城市，台风不会在南宁登陆。"),
            ("邕江大桥封闭", "部分属实", "仅非机动车道临时封闭。"),
        )
    ):
        conn.execute(
            insert(t.claims),
            {
                "id": f"R{42 + n:04d}",
                "claim": claim,
                "verdict": verdict,
                "correction": correction,
                "hazard": "flood",
                "place": "南宁市",
                "adcode": "450100",
                "date": "2024-09-08",
                "source_name": "南宁市气象局",
                "origin": "library" if n else "own",
                "review_at": now + timedelta(days=-2 if n == 1 else 90),
                "created_at": now,
                "created_by": "系统",
            },
        )


def _help(conn: Any, now: datetime) -> None:
    for n, (place, code, text, minutes, state) in enumerate(
        (
            (
                "白沙大道铁路桥",
                "450105",
                "白沙大道桥下困车 3 人，水还在涨，电话 138****66**，求救",
                9,
                "new",
            ),
            ("石柱岭一路", "450105", "老人被困一楼，水到膝盖，没办法出来", 3, "new"),
            ("双桥镇", "450110", "塌方堵住出村的路，有孕妇要去医院", 2, "new"),
            ("五象大道", "450108", "车熄火在水里，人已出来，求拖车", 50, "passed"),
            ("仙葫", "450103", "小区停电电梯困人，已救出，谢谢", 100, "answered"),
        )
    ):
        seen = now - timedelta(minutes=minutes)
        conn.execute(
            insert(t.help_calls),
            {
                "post_id": f"help-{n}",
                "text": text,
                "place_name": place,
                "adcode": code,
                "source": "weibo_like",
                "url": f"https://example.invalid/help/{n}",
                "published_at": seen - timedelta(minutes=1),
                "seen_at": seen,
                "probability": 0.93,
                "copies": 4 if n == 0 else 0,
                "state": state,
                "passed_to": "119" if state != "new" else "",
                "passed_at": seen + timedelta(minutes=2) if state != "new" else None,
                "passed_by": "周值班" if state != "new" else "",
                "answer": "已到场处置" if state == "answered" else "",
                "answered_at": seen + timedelta(minutes=30) if state == "answered" else None,
            },
        )
        if state == "new":
            conn.execute(
                insert(t.clocks),
                {
                    "owner": "help",
                    "owner_id": str(n + 1),
                    "name": "pass_on",
                    "label": "转办",
                    "started_at": seen,
                    "due_at": seen + timedelta(minutes=5),
                    "fired": {},
                },
            )


def _work(store: Store, now: datetime, rules: Any) -> None:
    """Some work that was done tonight: one case far along, one just opened, one closed."""
    duty, leader = actor("李值班"), actor("韦带班")

    def at(minutes: float) -> Any:
        return store.begin(now - timedelta(minutes=minutes))

    with at(24) as tx:
        alerts.claim_alert(tx, duty, fp("baisha"))
    with at(22) as tx:
        case = cases.open_case(tx, duty, fingerprint=fp("baisha"), rules=rules)
    with at(20) as tx:
        cases.assess_case(tx, leader, case, 3, "积水致多车被淹，涉及公共安全，负面占比高")
    with at(18) as tx:
        task = assignments.assign(
            tx, duty, case, "气象台", "提供白沙大道周边站点 3 小时雨量和预警发布时间"
        )
        assignments.assign(tx, duty, case, "办公室", "协调排水部门口径", part="helper")
    with at(15) as tx:
        assignments.receive(tx, actor("黄科长"), task)
    with at(11) as tx:
        assignments.reply(
            tx,
            actor("黄科长"),
            task,
            "石柱岭站 13:00—16:00 雨量 96.4 毫米；暴雨橙色预警 13:05 发布。",
        )
    with at(9) as tx:
        assignments.accept_reply(tx, duty, task, "可用")
        draft = clarifications.start_draft(tx, duty, case)
    with at(7) as tx:
        proof = clarifications.add_evidence(
            tx,
            duty,
            case,
            kind="observation",
            ref="ST-59431-16",
            title="石柱岭站 3 小时雨量 96.4 毫米",
            text="13:00—16:00 累计雨量 96.4 毫米",
            station="石柱岭站",
            at=now - timedelta(minutes=60),
        )
        version = (
            tx.conn.execute(t.clarifications.select().where(t.clarifications.c.id == draft))
            .mappings()
            .one()["version"]
        )
        version = clarifications.save_draft(
            tx,
            duty,
            draft,
            version,
            title="关于白沙大道积水情况的说明",
            claim="白沙大道铁路桥下积水，多车被淹，预警没发",
            verdict="部分属实",
            facts="13 时至 16 时，石柱岭站雨量 96.4 毫米，铁路桥下积水，3 辆车被淹，无人员伤亡。"
            "暴雨橙色预警信号于 13 时 05 分发布。",
            measures="市气象台每半小时更新实况，并与排水、交警部门会商。",
            results="截至 16 时积水已退，道路恢复通行。",
            evidence=[proof],
            channels=["portal", "weibo"],
            valid_until=now + timedelta(hours=24),
        )
    with at(6) as tx:
        clarifications.submit(tx, duty, draft)
    with at(4) as tx:
        clarifications.pass_check(tx, actor("覃核稿"), draft, "数据与自动站一致")
    with at(13) as tx:
        alerts.claim_alert(tx, duty, fp("metro"))
    with at(40) as tx:
        alerts.claim_alert(tx, actor("周值班"), fp("late"))
        second = cases.open_case(tx, actor("周值班"), fingerprint=fp("late"), rules=rules)
    with at(35) as tx:
        cases.assess_case(tx, actor("周值班"), second, 2, "批评预警偏晚，不属谣言，宜公开时间线")
    with at(180) as tx:
        third = cases.open_case(tx, duty, fingerprint=fp("thanks"), rules=rules)
    with at(170) as tx:
        cases.assess_case(tx, duty, third, 1, "好评，择要回复")
        task = assignments.assign(tx, duty, third, "气象台", "择要回复留言")
    with at(168) as tx:
        assignments.receive(tx, actor("黄科长"), task)
        assignments.reply(tx, actor("黄科长"), task, "已在公众号留言区回复。")
    with at(166) as tx:
        assignments.accept_reply(tx, duty, task)
        cases.mark_responded(tx, duty, third, "公众号留言回复")
    with at(160) as tx:
        cases.watch_case(tx, duty, third)
        cases.close_case(tx, duty, third, "已回复，热度消退")
