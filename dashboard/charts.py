"""Pictures as plain Vega-Lite dicts: no pandas, no Altair, nothing fetched from outside.

Times on the axes are Beijing time, written as naive local text, because Vega would otherwise use
the browser's zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from dashboard import words
from dashboard.markup import Safe, div, show, span, tag
from dashboard.theme import MARK, SENTIMENT, STANCE

Spec = dict[str, Any]
GREY = "#8b929c"

CONFIG: Spec = {
    "background": "transparent",
    "view": {"stroke": None},
    "axis": {
        "labelColor": GREY,
        "titleColor": GREY,
        "gridColor": "#8b929c33",
        "domainColor": GREY,
        "tickColor": GREY,
        "labelFontSize": 12,
    },
    "legend": {"labelColor": GREY, "titleColor": GREY, "orient": "top", "title": None},
}


def local(at: datetime) -> str:
    return f"{words.beijing(at):%Y-%m-%dT%H:%M:%S}"


def draw(spec: Spec, *, alt: str, key: str) -> None:
    """Show a specification. ``alt``: what it says, for who cannot see it."""
    st.vega_lite_chart({"config": CONFIG, **spec}, width="stretch", theme=None, alt=alt, key=key)


def _time_axis(fmt: str = "%H:%M") -> Spec:
    return {"type": "temporal", "title": None, "axis": {"format": fmt, "tickCount": 6}}


def stacked_hours(rows: Iterable[Mapping[str, Any]], *, height: int = 190) -> Spec:
    """Posts per hour, stacked by sentiment. ``rows``: ``{start, label, posts}``."""
    names = words.SENTIMENT_WORDS
    values = [
        {"t": local(r["start"]), "n": r["posts"], "s": names[r["label"]]}
        for r in rows
        if r["label"] in names
    ]
    return {
        "data": {"values": values},
        "height": height,
        "mark": {"type": "bar", "tooltip": True},
        "encoding": {
            "x": {"field": "t", "timeUnit": "yearmonthdatehours", **_time_axis("%H时")},
            "y": {"field": "n", "type": "quantitative", "title": "条/小时", "stack": "zero"},
            "color": {
                "field": "s",
                "type": "nominal",
                "sort": list(names.values()),
                "scale": {
                    "domain": list(names.values()),
                    "range": [SENTIMENT[k] for k in names],
                },
                "legend": {"title": None, "orient": "top"},
            },
            "tooltip": [
                {"field": "t", "type": "temporal", "format": "%m-%d %H时", "title": "时段"},
                {"field": "s", "title": "态度"},
                {"field": "n", "title": "条"},
            ],
        },
    }


def spread_curve(
    buckets: Sequence[Mapping[str, Any]],
    marks: Sequence[tuple[datetime, str, str]],
    *,
    height: int = 210,
) -> Spec:
    """Posts per ten minutes by stance, with alerts and releases as rules on the time axis.

    ``buckets``: rows of ``event_buckets``. ``marks``: (time, label, kind) with kind ``alert`` or
    ``release``.
    """
    series = (("spread", "转述"), ("question", "求证"), ("debunk", "辟谣"), ("other", "其他"))
    values = []
    for b in buckets:
        rest = b["posts"] - b["spread"] - b["question"] - b["debunk"]
        for key, name in series:
            n = max(0, rest) if key == "other" else b[key]
            values.append({"t": local(b["start"]), "n": n, "s": name})
    colours = [STANCE["spread"], "#d9a24a", STANCE["debunk"], "#b7bcc4"]
    names = [name for _, name in series]
    layers: list[Spec] = [
        {
            "data": {"values": values},
            "mark": {"type": "area", "interpolate": "step-after", "opacity": 0.85, "tooltip": True},
            "encoding": {
                "x": {"field": "t", **_time_axis()},
                "y": {"field": "n", "type": "quantitative", "title": "条/10 分钟", "stack": "zero"},
                "color": {
                    "field": "s",
                    "type": "nominal",
                    "sort": names,
                    "scale": {"domain": names, "range": colours},
                    "legend": {"title": None, "orient": "top"},
                },
                "tooltip": [
                    {"field": "t", "type": "temporal", "format": "%m-%d %H:%M", "title": "时间"},
                    {"field": "s", "title": "立场"},
                    {"field": "n", "title": "条"},
                ],
            },
        }
    ]
    if marks:
        points = [{"t": local(at), "w": label, "k": kind} for at, label, kind in marks]
        tone = {
            "field": "k",
            "type": "nominal",
            "scale": {"domain": ["alert", "release"], "range": [GREY, MARK]},
            "legend": None,
        }
        layers.append(
            {
                "data": {"values": points},
                "mark": {"type": "rule", "strokeWidth": 2, "strokeDash": [5, 3], "tooltip": True},
                "encoding": {
                    "x": {"field": "t", "type": "temporal"},
                    "color": tone,
                    "tooltip": [
                        {"field": "w", "title": "事项"},
                        {
                            "field": "t",
                            "type": "temporal",
                            "format": "%m-%d %H:%M",
                            "title": "时间",
                        },
                    ],
                },
            }
        )
        layers.append(
            {
                "data": {"values": points},
                "mark": {"type": "text", "align": "left", "dx": 4, "fontSize": 12, "y": 8},
                "encoding": {
                    "x": {"field": "t", "type": "temporal"},
                    "text": {"field": "w"},
                    "color": tone,
                },
            }
        )
    return {"height": height, "layer": layers, "resolve": {"scale": {"color": "independent"}}}


def bars(rows: Sequence[tuple[str, int]], *, height: int | None = None, unit: str = "条") -> Spec:
    """Horizontal bars in one hue, most first, with the number at the end."""
    values = [{"k": name, "n": n} for name, n in rows]
    top = max((n for _, n in rows), default=1)
    return {
        "data": {"values": values},
        "height": height or max(60, 26 * len(values)),
        "encoding": {
            "y": {
                "field": "k",
                "type": "nominal",
                "sort": None,
                "title": None,
                "axis": {"labelLimit": 130},
            },
            "x": {
                "field": "n",
                "type": "quantitative",
                "title": None,
                "axis": None,
                "scale": {"domain": [0, top * 1.2]},
            },
        },
        "layer": [
            {
                "mark": {"type": "bar", "color": MARK, "height": {"band": 0.7}, "tooltip": True},
                "encoding": {
                    "tooltip": [{"field": "k", "title": "类别"}, {"field": "n", "title": unit}]
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 4, "color": GREY, "fontSize": 12},
                "encoding": {"text": {"field": "n"}},
            },
        ],
    }


COUNTIES: tuple[tuple[str, str, int, int], ...] = (
    # code, name, column, row: who lies north of whom, not a map
    ("450124", "马山县", 2, 0),
    ("450125", "上林县", 3, 0),
    ("450123", "隆安县", 0, 1),
    ("450110", "武鸣区", 1, 1),
    ("450126", "宾阳县", 3, 1),
    ("450107", "西乡塘区", 1, 2),
    ("450102", "兴宁区", 2, 2),
    ("450103", "青秀区", 3, 2),
    ("450181", "横州市", 4, 2),
    ("450105", "江南区", 1, 3),
    ("450108", "良庆区", 2, 3),
    ("450109", "邕宁区", 3, 3),
)


def tiles(counts: Mapping[str, tuple[int, int]], *, hours: int) -> Safe:
    """Nanning's counties as a grid of tiles: posts of the last hours, and against those before.

    ``hours`` 0: the counts are of things as they stand now, without a trend.
    """
    top = max((now for now, _ in counts.values()), default=0)
    places = {(col, row): (code, name) for code, name, col, row in COUNTIES}
    cells = []
    for row in range(4):
        for col in range(5):
            place = places.get((col, row))
            if place is None:
                cells.append(div(cls="tile void"))
                continue
            code, name = place
            n, before = counts.get(code, (0, 0))
            shade = 0 if top == 0 or n == 0 else min(4, 1 + (4 * n) // (top + 1))
            trend = (
                "→ 持平" if n == before else f"↑ +{n - before}" if n > before else f"↓ {n - before}"
            )
            if hours == 0:
                mark = "条" if n else "无"
                cells.append(div(name, tag("b", str(n)), span(mark), cls=f"tile t{shade}"))
                continue
            hover = f"{name} 近 {hours} 小时 {n} 条，此前 {hours} 小时 {before} 条"
            cells.append(
                div(
                    name,
                    tag("b", str(n)),
                    span(trend, cls="num"),
                    cls=f"tile t{shade}",
                    title=hover,
                )
            )
    return div(*cells, cls="tiles")


def tile_map(counts: Mapping[str, tuple[int, int]], *, hours: int) -> None:
    show(tiles(counts, hours=hours))
