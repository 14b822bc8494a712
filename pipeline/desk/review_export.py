"""A review as a file: HTML (one page, pictures inside) and DOCX (GB/T 9704 page)."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import docx
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml.ns import qn
from docx.shared import Cm, Mm, Pt
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import DateFormatter, date2num
from matplotlib.figure import Figure as Picture

from pipeline.clock import BEIJING
from pipeline.domain.review import Bucket, Review

FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "SimHei",
)
ORANGE, GREY, TEAL, INK = "#c2410c", "#8b949e", "#0f766e", "#1b1f24"


@cache
def chinese_font() -> str | None:
    """A font of this machine that has Chinese glyphs, None when there is none."""
    have = {f.name for f in font_manager.fontManager.ttflist}
    return next((name for name in FONTS if name in have), None)


def when(at: datetime | None) -> str:
    """Beijing time for reading; 缺 when missing."""
    return f"{at.astimezone(BEIJING):%Y-%m-%d %H:%M:%S}" if at else "缺"


def spread_picture(buckets: Sequence[Bucket], marks: Sequence[tuple[datetime, str]]) -> bytes:
    """PNG of posts per ten minutes by stance, with the releases as lines on the time axis.

    Without a Chinese font the words are English, so that no box stands where a word should be.
    """
    font = chinese_font()
    words = (
        {"spread": "转述", "question": "询问", "debunk": "辟谣", "y": "帖文/10 分钟"}
        if font
        else {"spread": "spread", "question": "question", "debunk": "debunk", "y": "posts/10 min"}
    )
    picture = Picture(figsize=(7.2, 3.0), dpi=150, layout="constrained")
    FigureCanvasAgg(picture)
    axes = picture.subplots()
    name = font or "DejaVu Sans"
    times = [_axis(b.start) for b in buckets]
    floor = [0] * len(buckets)
    for key, colour in (("spread", ORANGE), ("question", GREY), ("debunk", TEAL)):
        values = [getattr(b, key) for b in buckets]
        axes.bar(times, values, width=0.0062, bottom=floor, color=colour, label=words[key])
        floor = [a + b for a, b in zip(floor, values, strict=True)]
    for at, label in marks:
        local = _axis(at)
        axes.axvline(local, color=INK, linewidth=1.2, linestyle="--")
        text = label if font else "release"
        axes.annotate(
            text, (local, max([*floor, 1])), fontfamily=name, fontsize=8, ha="left", va="top"
        )
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))  # type: ignore[no-untyped-call]
    axes.set_ylabel(words["y"], fontfamily=name)
    axes.legend(prop={"family": name, "size": 8}, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    out = io.BytesIO()
    picture.savefig(out, format="png")
    return out.getvalue()


def _axis(at: datetime) -> float:
    """Matplotlib's number for a moment, in Beijing time."""
    return float(date2num(at.astimezone(BEIJING).replace(tzinfo=None)))  # type: ignore[no-untyped-call]


def _marks(review: Review) -> list[tuple[datetime, str]]:
    return [(r["released_at"], f"发布 {r['number']}") for r in review.releases]


def _share(value: float | None) -> str:
    return "缺" if value is None else f"{100 * value:.0f}%"


_HTML = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
)


def to_html(review: Review) -> bytes:
    """One HTML page with its picture inside; opens anywhere, loads nothing."""
    picture = base64.b64encode(spread_picture(review.buckets, _marks(review))).decode()
    return (
        _HTML.get_template("review.html")
        .render(r=review, when=when, share=_share, picture=picture)
        .encode()
    )


def to_docx(review: Review) -> bytes:
    """A4 with the margins of GB/T 9704-2012, body in 仿宋 16 pt (三号)."""
    document = docx.Document()
    section = document.sections[0]
    section.page_height, section.page_width = Mm(297), Mm(210)
    section.top_margin, section.bottom_margin = Mm(37), Mm(35)
    section.left_margin, section.right_margin = Mm(28), Mm(26)
    _font(document.styles["Normal"], "仿宋", 16)
    document.styles["Normal"].paragraph_format.line_spacing = Pt(28)

    title = document.add_paragraph()
    title.alignment = WD_ALIGN_PARAGRAPH.CENTER
    _run(title, f"关于“{review.title}”的舆情复盘", "方正小标宋简体", 22)
    head = document.add_paragraph()
    head.alignment = WD_ALIGN_PARAGRAPH.CENTER
    drill = "（演练）" if review.is_drill else ""
    _run(head, f"{review.number}{drill}　等级：{review.level}　{review.status}", "仿宋", 14)

    def heading(text: str) -> None:
        _run(document.add_paragraph(), text, "黑体", 16)

    heading("一、小结")
    document.add_paragraph(review.summary or "（未填写）")
    heading("二、过程")
    _table(document, ("环节", "时刻"), [(m.label, when(m.at)) for m in review.moments])
    heading("三、数字")
    _table(
        document,
        ("指标", "数值", "计算方法"),
        [
            (f.label, f"{f.text}{f'（{f.note}）' if f.note else ''}", f.formula)
            for f in review.figures
        ],
    )
    heading("四、传播与回应")
    picture = spread_picture(review.buckets, _marks(review))
    document.add_picture(io.BytesIO(picture), width=Cm(15.4))
    if review.effects:
        _table(
            document,
            ("窗口", "帖文 前/后", "转述 前/后", "辟谣占比 前/后"),
            [
                (
                    f"发布前后 {e.hours} 小时",
                    f"{e.before} / {e.after}",
                    f"{e.spread_before} / {e.spread_after}",
                    f"{_share(e.share_debunk_before)} / {_share(e.share_debunk_after)}",
                )
                for e in review.effects
            ],
        )
    heading("五、时间线")
    _table(
        document,
        ("时刻", "谁", "事项"),
        [(when(x["at"]), x["actor"], x["text"]) for x in review.timeline],
    )
    heading("六、改进事项")
    for n, lesson in enumerate(review.lessons, 1):
        done = "，已完成" if lesson["done_at"] else ""
        document.add_paragraph(
            f"{n}. {lesson['text']}（{lesson['office']}，{when(lesson['due_at'])}{done}）"
        )
    if not review.lessons:
        document.add_paragraph("（无）")
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def _font(style: Any, name: str, points: float) -> None:
    style.font.name, style.font.size = name, Pt(points)
    style.element.get_or_add_rPr().get_or_add_rFonts().set(qn("w:eastAsia"), name)


def _run(paragraph: Any, text: str, name: str, points: float) -> None:
    run = paragraph.add_run(text)
    run.font.name, run.font.size = name, Pt(points)
    run._element.get_or_add_rPr().get_or_add_rFonts().set(qn("w:eastAsia"), name)


def _table(document: Any, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = document.add_table(rows=1, cols=len(head))
    table.style = "Table Grid"
    for cells, values in ((table.rows[0].cells, head), *((None, r) for r in rows)):
        cells = cells or table.add_row().cells
        for cell, value in zip(cells, values, strict=True):
            paragraph = cell.paragraphs[0]
            paragraph.paragraph_format.line_spacing = Pt(18)
            _run(paragraph, value, "仿宋", 12)
