"""Does a text repeat a claim, ask about it, or deny it?

Cues only: a first sorting for claim matching. The annotator's rumour head knows more.
"""

from __future__ import annotations

import re
from typing import Literal

Stance = Literal["repeat", "question", "debunk"]

_DEBUNK = re.compile(
    r"辟谣|谣言|造谣|传谣|不实|属虚假|虚假(?:信息|消息|视频|通知)|假(?:的|消息|新闻|视频|图|通知)|(?<!是)不是真的|"
    r"并非事实|并不属实|不属实|没有这回事|没这回事|没有的事|子虚乌有|纯属(?:虚构|编造|捏造|谣)|别信|不要信|勿信|"
    r"莫信|别传|不信谣|莫传|别再传|勿传|勿转|系(?:编造|旧|摆拍|AI)|旧(?:视频|图|照片|闻|新闻)|移花接木|张冠李戴|"
    r"澄清|情况说明|已核实|经核实|经核查|经查|官方回应|AI(?:生成|合成|做)|P的图|是P的|并未发生|未发生|没有发生|"
    r"从未|并没有|根本没|哪有的事|瞎编|编的|编造|拼凑|胡说|扯淡|瞎传|乱传|散布|误传|误读|误解|以讹传讹|"
    r"与事实不符|没有(?:什么|任何|科学)|不科学|没(?:什么)?关系|不是[^，,。]{2,12}[，,](?:而?是|冲|只)|其实是|"
    r"没(?:有)?(?:倒|塌|淹|停水|停电|垮|决堤|断|拴|全城|泄洪|洪灾|爆破|受损|出现|接到)|"
    r"(?:图|图片|视频|照片|画面|截图|片子)[^，,。]{0,8}(?:不是|来自|(?:其实|都)?是(?:20\d\d年|去年|前年|往年|前几年|几年前|多年前|国外|外|别)|"
    r"拍的是别)|旧片|旧灾情|站不住脚|没有?(?:依据|根据)|夸大|不准确|伪造|捏造|标题党|没有[^，,。]{2,14}(?:这回事|的(?:计划|安排|报告|病例))"
)
_QUESTION = re.compile(
    r"真的(?:吗|假的|么|嘛|咩)|真假|是真是假|真的假的|真的?不真|是不是真|是真的(?:吗|么|嘛|不|没|[?？])|属实(?:吗|么|[?？])|求证|"
    r"求辟谣|有没有(?:这回事|人知道|人证实|官方)|靠谱(?:吗|么|不|[?？])|可信(?:吗|么|[?？])|有这(?:事|回事)(?:吗|么|[?？])|"
    r"真有[^，,。]{2,20}吗|真是[^，,。]{2,20}吗|有没有懂|到底[^，,。]{2,12}没有|[能会]不[能会]|是不是|谁知道|怎么没(?:有)?(?:人|官方|新闻|媒体)?(?:报|说|通报|消息|听说?|看[到见]|辟谣)|是不是谣言|是谣言吗|核实一下|求核实|哪位知道|咩料|系咪|真嘅"
)
_ASKS = re.compile(
    r"[吗嘛][，,、；;]|谁能证实|有没有(?:通报|在[^，,。]{1,6}的)|(?:吗|么|嘛|咩|没有|不|呢|吧)?[?？]|[吗么][。!！~～\s]*$"
)
_ASK_FOR_DEBUNK = re.compile(
    r"求辟谣|谁(?:来|能)?辟(?:个|下|一下)?谣|辟谣[?？]|是不?是?谣言(?:吗|么|啊|吧|[?？])|(?:假的|谣言)(?:吧|吗|么)|真的还是假的|真的假的|真假|真还是假"
)


def stance(text: str) -> Stance:
    """``question`` before ``debunk`` before ``repeat``: who asks for a denial does not deny."""
    if _ASK_FOR_DEBUNK.search(text) is not None:
        return "question"
    denies = _DEBUNK.search(text) is not None
    if denies:
        return "debunk"
    if _QUESTION.search(text) is not None or _ASKS.search(text) is not None:
        return "question"
    return "repeat"


_DENIES = re.compile(
    r"没有?(?!想到)|未(?!来|成年)|并非|不是|不会|不能|无(?!法|数|人机|情)|取消|解除|虚惊|演练|排除|误"
)


def denies(clause: str, claim: str) -> bool:
    """Whether a clause that matched a claim may say its opposite: it negates, the claim does not.

    >>> denies("大桥没有垮塌", "大桥垮塌了")
    True
    """
    return _DENIES.search(clause) is not None and _DENIES.search(claim) is None


def denial_at(text: str) -> list[tuple[int, int]]:
    """Where the words of negation stand."""
    return [match.span() for match in _DENIES.finditer(text)]


def stance_towards(text: str, clause: str, claim: str, rumour: str = "none") -> Stance:
    """How a post stands to a claim it matches. ``rumour``: what the annotator's head says.

    A denial without any of the cues (大桥完好无损) is still read as a repeat: the officer decides.
    """
    if rumour in ("question", "debunk"):
        return "question" if rumour == "question" else "debunk"
    said = stance(text)
    return "debunk" if said == "repeat" and denies(clause, claim) else said
