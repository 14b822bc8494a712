"""Texts of our own writing to run the annotator on: the drill's posts, and worse ones."""

from __future__ import annotations

import json
import random
from functools import cache
from importlib.resources import files
from typing import Any

HOSTILE = [
    "",
    " ",
    "\0",
    "\0\0\0\0",
    "\ud800",
    "\udfff" * 50,
    "\u200b" * 100,
    "@" * 300,
    "//@" * 300,
    "http://" * 200,
    "1" * 9_000,
    "雨" * 10_000,
    "https://" + "a" * 9_000,
    "🌧️" * 2_000,
    "\U0010ffff" * 100,
    "\ue000\ue001\ue002\ue003" * 20,
    "暴\u200b雨\u200c泄\u200d洪",
    "暴 雨 红 色 预 警",
    "#" * 5_000,
    "ﷺ" * 1_000,
    "颱風來了，淹水咗，求助！",
]


@cache
def drill_texts() -> list[str]:
    """Every post of the drill's scenarios, in file order."""
    texts: list[str] = []
    scenarios = files("crawlers.drill") / "scenarios"
    for scenario in sorted(scenarios.iterdir(), key=lambda entry: entry.name):
        for part in sorted(scenario.iterdir(), key=lambda entry: entry.name):
            if part.name.endswith(".jsonl"):
                lines = part.read_text(encoding="utf-8").splitlines()
                texts += [str(json.loads(line)["text"]) for line in lines if '"text"' in line]
    return texts


@cache
def many_texts(count: int = 2_400) -> list[str]:
    """Drill posts as they are, then chained, tagged, linked and cut at random, seeded."""
    seeded = random.Random(11)
    base = drill_texts()
    texts = [*HOSTILE, *base]
    while len(texts) < count:
        one, other = seeded.choice(base), seeded.choice(base)
        texts.append(
            seeded.choice(
                [
                    f"{one}//@某人:{other}",
                    f"#暴雨#{one} http://t.cn/{seeded.randrange(10**6)}",
                    f"{one}　{seeded.randrange(10**9)}　{other}",
                    one[: seeded.randrange(1, len(one) + 1)],
                    f"@{seeded.choice('甲乙丙丁')}同学 {one}",
                ]
            )
        )
    return texts[:count]


@cache
def drill_rows() -> list[dict[str, Any]]:
    """The drill's posts with the four labels of the guide, as a labelled file holds them."""
    rows: list[dict[str, Any]] = []
    scenarios = files("crawlers.drill") / "scenarios"
    for scenario in sorted(scenarios.iterdir(), key=lambda entry: entry.name):
        for part in sorted(scenario.iterdir(), key=lambda entry: entry.name):
            if not part.name.endswith(".jsonl"):
                continue
            for line in part.read_text(encoding="utf-8").splitlines():
                post = json.loads(line)
                if "kind" in post.get("truth", {}) and "text" in post:
                    rows.append({"text": post["text"], **post["truth"]})
    return rows
