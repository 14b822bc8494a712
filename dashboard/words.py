"""How things are said on the screen: times, spans, counts, levels, colours. No Streamlit here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from dashboard.markup import Safe, join, span
from pipeline.clock import BEIJING
from pipeline.domain.event import Level
from pipeline.domain.warning import COLOUR_WORDS

WEEKDAYS = "一二三四五六日"
SENTIMENT_WORDS = {"neg": "负面", "neu": "中性", "pos": "正面"}
RUMOUR_WORDS = {"none": "非传言", "unverified": "未证实", "question": "求证质疑", "debunk": "辟谣"}
STANCE_WORDS = {"spread": "转述", "question": "求证", "debunk": "辟谣", "other": "其他"}
KIND_WORDS = {
    "help": "求助",
    "offer": "施助",
    "impact": "受灾影响",
    "service": "服务评价",
    "official": "官方信息",
    "talk": "议论",
    "irrelevant": "无关",
}
URGENCY_WORDS = {"0": "无", "1": "一般", "2": "较急", "3": "紧急"}
LOOK_WORDS = {"thread": "所回复的帖文", "account": "账号", "meaning": "语义"}
HEAD_WORDS = {"kind": "类型", "sentiment": "态度", "urgency": "紧急", "rumour": "传言"}
LABEL_WORDS: dict[str, dict[str, str]] = {
    "kind": KIND_WORDS,
    "sentiment": SENTIMENT_WORDS,
    "urgency": URGENCY_WORDS,
    "rumour": RUMOUR_WORDS,
}
AUTHOR_WORDS = {"person": "个人", "organisation": "机构", "media": "媒体", "government": "政务"}
SOURCE_STATES = {
    "ok": "正常",
    "late": "超时未更新",
    "empty": "异常为空",
    "refused": "被拒绝",
    "failing": "失败",
    "never": "未成功过",
}
DELIVERY_STATES = {
    "waiting": "待发",
    "sent": "已送达",
    "failed": "失败，将重试",
    "given_up": "失败，已停止重试",
    "grouped": "已合并发送",
}
CHANNEL_STATES = {"waiting": "待发布", "done": "已发布", "failed": "失败"}
# what a part complains of, by a few of its words -> for those who see the top line
PART_NOTES = {
    "disk is full": "磁盘已满，请系统管理员清理",
    "is damaged": "数据文件损坏，请系统管理员处理",
    "holds the file": "数据文件被占用，正在重试",
    "Kafka": "后台尚未连上消息通道",
    "Elasticsearch": "后台尚未连上帖文检索",
    "PostgreSQL": "后台尚未连上数据库",
}
STEP_WORDS = {
    "save": "保存",
    "submit": "送审",
    "check": "业务核稿",
    "secrecy": "保密审查",
    "sign": "签发",
    "send_back": "退回",
    "release": "发布",
}


def part_note(note: str) -> str:
    """A part's complaint for an officer; its log keeps the sentence for the administrator."""
    for some, said in PART_NOTES.items():
        if some in note:
            return said
    return "后台出错，正在重试，请系统管理员查看日志" if note.isascii() else note


def beijing(at: datetime) -> datetime:
    return at.astimezone(BEIJING)


def clock(at: datetime) -> str:
    """As 14:03:20."""
    return f"{beijing(at):%H:%M:%S}"


def stamp(at: datetime | None, now: datetime | None = None) -> str:
    """As 14:02, or 11-23 14:02 on another day; 缺 for a missing time."""
    if at is None:
        return "缺"
    local = beijing(at)
    if now is not None and local.date() == beijing(now).date():
        return f"{local:%H:%M}"
    if now is not None and local.year == beijing(now).year:
        return f"{local:%m-%d %H:%M}"
    return f"{local:%Y-%m-%d %H:%M}"


def long_span(delta: timedelta) -> str:
    """As 40 秒, 12 分钟, 1 小时 12 分, 3 天 4 小时; never negative."""
    seconds = max(0, int(delta.total_seconds()))
    if seconds < 60:
        return f"{seconds} 秒"
    if seconds < 3600:
        return f"{seconds // 60} 分钟"
    if seconds < 86400:
        hours, rest = divmod(seconds // 60, 60)
        return f"{hours} 小时 {rest} 分" if rest else f"{hours} 小时"
    days, rest = divmod(seconds // 3600, 24)
    return f"{days} 天 {rest} 小时" if rest else f"{days} 天"


def ago(at: datetime | None, now: datetime) -> str:
    """As 14:02（8 分钟前）; a future time as 14:02（8 分钟后）."""
    if at is None:
        return "缺"
    if at > now:
        return f"{stamp(at, now)}（{long_span(at - now)}后）"
    return f"{stamp(at, now)}（{long_span(now - at)}前）"


def left(due: datetime, now: datetime) -> str:
    """As 还剩 1 小时 12 分, or 已超时 3 分钟."""
    return f"已超时 {long_span(now - due)}" if due <= now else f"还剩 {long_span(due - now)}"


def percent(part: int, whole: int) -> str:
    """A share with its n, as 37%（n=120）."""
    return f"{100 * part / whole:.0f}%（n={whole}）" if whole else "缺（n=0）"


def blocks(series: Sequence[int]) -> str:
    """A small curve in block characters, as ▁▁▂▅█; a blank series stays low."""
    top = max(series, default=0)
    if top == 0:
        return "▁" * len(series)
    return "".join("▁▂▃▄▅▆▇█"[min(7, round(7 * n / top))] for n in series)


def level_badge(level: int) -> Safe:
    """Bars in ink and the word; never a colour of the weather warnings."""
    lv = Level(level)
    return span(span(lv.bars, cls="bars"), f" {lv.label}", cls=f"lv lv{int(lv)}")


def warning_badge(colour: str, type_name: str) -> Safe:
    """A weather warning in its official colour, with the word beside it."""
    word = COLOUR_WORDS.get(colour, "未注明颜色")
    return span(f"{type_name}{word}", cls=f"wn wn-{colour or 'none'}")


def due_badge(due: datetime | None, what: str, now: datetime) -> Safe:
    """The clock of a row, in words; overdue is bold and says so."""
    if due is None:
        return Safe("")
    late = due <= now
    soon = not late and due - now <= timedelta(hours=1)
    cls = "due late" if late else "due soon" if soon else "due"
    return span(join(f"{what} " if what else "", left(due, now)), cls=cls, title=stamp(due))


def people_say(sentence: str, limit: int = 60) -> str:
    """The beginning of a text, cut with an ellipsis."""
    flat = " ".join(sentence.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def from_beijing(at: datetime) -> datetime:
    """A time typed by an officer, in Beijing time, as aware UTC."""
    return at.replace(tzinfo=BEIJING).astimezone(UTC)
