"""Clean and segment Chinese text. Training and serving share the one cleaner defined here.

Cleaning, in this order:

1. every code point goes through one table: NFKC where it gives a single character, lower case,
   frequent traditional characters to simplified, zero-width characters and lone surrogates
   dropped, controls and private-use characters to a blank;
2. a link becomes ``URL``, ``//@name:`` becomes ``REPOST``, ``@name`` becomes ``MENTION``;
3. runs of blanks become one, the ends are trimmed.

``clean`` is the readable definition; ``nlp.kernel`` holds the same rules for a whole batch, and a
test holds the two together. Only the first ``READ_LIMIT`` characters of a text are read, so that
no text can be slow.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nlp.lexicon import weather_words

if TYPE_CHECKING:
    import rjieba

READ_LIMIT = 2_000

URL, MENTION, REPOST, NUMBER = "\ue000", "\ue001", "\ue002", "\ue003"
MARKERS = URL + MENTION + REPOST + NUMBER

_DROP, _BLANK = 0, 0x20
_ZERO_WIDTH = (
    0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180E, *range(0x200B, 0x2010),
    *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0x3164, *range(0xFE00, 0xFE10), 0xFEFF, 0xFFA0,
    *range(0xE0000, 0xE01F0),
)  # fmt: skip
# NFKC is only asked for the blocks that hold compatibility forms beyond the first plane.
_FOLDED = (
    range(0x10000),
    range(0x1D400, 0x1D800),
    range(0x1F100, 0x1F200),
    range(0x2F800, 0x2FA20),
)
# Traditional -> simplified for what weather posts use; one character to one, context left aside.
_TRADITIONAL = (
    "颱台風风雲云電电災灾難难緊紧預预報报氣气檢检發发佈布黃黄橙橙紅红藍蓝綠绿區区縣县鎮镇鄉乡號号樓楼"
    "門门車车隊队員员應应對对處处變变壞坏壩坝堤堤淺浅澇涝漲涨溫温濕湿熱热涼凉凍冻霧雾霾霾塵尘暈晕"
    "閃闪雷雷擊击陣阵強强級级勢势續续繼继總总無无沒没這这個个們们來来時时說说話话請请問问誰谁"
    "嗎吗麼么為为還还過过會会後后從从給给讓让將将與与並并種种樣样點点開开關关聽听見见觀观覺觉"
    "謠谣闢辟傳传謝谢轉转擴扩幫帮聯联絡络絡络親亲愛爱兒儿媽妈爺爷奶奶嬰婴婦妇傷伤亡亡遇遇險险"
    "陷陷斷断網网線线纜缆燈灯橋桥鐵铁軌轨機机場场飛飞港港碼码頭头漁渔農农莊庄稼稼樹树倒倒墻墙牆墙"
    "廣广東东臺台灣湾長长漢汉寧宁島岛嶼屿國国華华學学課课園园業业務务動动員员領领導导責责"
    "實实際际測测據据數数據据圖图視视頻频間间現现場场壓压槽槽鋒锋帶带環环氣气團团衛卫"
    "錢钱買买賣卖貨货價价錯错誤误譯译認认識识證证該该應应當当輕轻較较輛辆邊边連连運运進进"
    "遠远遲迟達达選选週周逢逢閘闸溝沟渠渠瀉泻洩泄灘滩滿满濟济淚泪淨净準准減减渦涡"
    "淒凄涼凉滯滞湧涌溢溢潰溃澆浇瀑瀑災灾燒烧爐炉營营牠它獨独玩玩產产異异畫画療疗"
    "癒愈盡尽監监盤盘礙碍禮礼穩稳窪洼競竞筆笔節节範范築筑簡简糧粮紀纪約约納纳純纯紙纸"
    "細细終终組组結结絕绝統统經经維维緩缓練练縮缩織织繞绕繩绳罰罚罵骂職职聲声聰聪脫脱腦脑"
    "臉脸臨临舉举舊旧艙舱艱艰蓋盖蔥葱薦荐蘇苏處处虛虚蟲虫補补裝装裡里裏里製制複复規规訂订計计訊讯"
    "討讨訓训記记設设許许訴诉診诊詞词試试詢询詳详誇夸誠诚語语調调談谈論论諮咨講讲警警護护"
    "讀读讚赞豐丰貓猫貝贝負负財财貧贫貴贵費费貼贴資资賠赔質质趕赶趙赵跡迹踐践躍跃軍军軟软"
    "載载輪轮輸输辦办農农適适遊游遺遗郵邮鄰邻醫医釋释針针銀银鋪铺錄录鍋锅鎖锁鏟铲鐘钟鑽钻"
    "閉闭閒闲閱阅闊阔陰阴陳陈陸陆陽阳階阶隨随隱隐雙双雜杂離离雖虽雞鸡靜静響响頁页頂顶項项順顺"
    "須须頗颇頭头題题額额顏颜願愿類类顧顾顯显颳刮飄飘飯饭飲饮餓饿餘余館馆駕驾騎骑騙骗驗验驚惊"
    "骯肮體体髒脏鬆松鬧闹魚鱼鮮鲜鳥鸟鹽盐麗丽麵面點点黨党齊齐龍龙龜龟衝冲擋挡擠挤擔担據据擇择"
    "撈捞撥拨攔拦攝摄敵敌斃毙暫暂曆历曉晓樂乐標标歲岁歷历殘残毀毁毫毫滾滚潛潜潮潮濃浓濫滥"
    "嚇吓嚴严園园圍围執执報报墊垫墜坠壯壮夠够夾夹奪夺妳你姊姐娛娱孫孙寫写寬宽審审專专尋寻"
    "導导屆届屍尸層层屬属岸岸峽峡巖岩巢巢師师帳帐幣币庫库廁厕廈厦廠厂彈弹彎弯後后徑径復复"
    "惡恶悶闷惱恼愛爱慘惨態态慶庆憂忧憑凭憤愤懷怀戰战戲戏戶户拋抛掃扫掛挂採采揚扬換换損损搖摇搶抢"
)

_NAME = r"0-9a-z_\-·\u4e00-\u9fff"
_MARKED = re.compile(rf"(https?://[!-~]*)|(//@[{_NAME}]{{1,30}}:?)|@[{_NAME}]{{1,30}}")
_BLANKS = re.compile(" {2,}")
_LONG_NUMBER = re.compile(r"[0-9]{5,}")
_REPOST = re.compile(r"/\s*/\s*[@＠]")


@cache
def fold_table() -> NDArray[np.uint32]:
    """Code point -> cleaned code point, ``(0x110000,)``; 0 = drop. Built once, about .1 s."""
    table = np.arange(0x110000, dtype=np.uint32)
    for block in _FOLDED:
        for code in block:
            folded = unicodedata.normalize("NFKC", chr(code)).lower()
            if len(folded) == 1:
                table[code] = ord(folded)
            elif folded.isspace():
                table[code] = _BLANK
            if unicodedata.category(chr(code)) in ("Cc", "Cf", "Zl", "Zp", "Zs"):
                table[code] = _BLANK
    pairs = iter(_TRADITIONAL)
    for traditional, simplified in zip(pairs, pairs, strict=True):
        table[ord(traditional)] = ord(simplified)
    table[0xD800:0xE000] = _DROP
    table[0xE000:0xF900] = _BLANK  # nobody but us writes markers
    table[list(_ZERO_WIDTH)] = _DROP
    return table


@cache
def _translation() -> dict[int, int | None]:
    table = fold_table()
    changed = np.flatnonzero(table != np.arange(len(table), dtype=np.uint32))
    return {int(code): int(table[code]) or None for code in changed}


def clean(text: str) -> str:
    """The text as every reader of this package sees it. See the module's docstring.

    >>> clean("ＷＡＴＥＲ 120　@某人: http://t.cn/abc")
    'water 120 \\ue001: \\ue000'
    """
    folded = text[:READ_LIMIT].translate(_translation())
    marked = _MARKED.sub(_marker, folded)
    return _BLANKS.sub(" ", marked).strip(" ")


def _marker(match: re.Match[str]) -> str:
    if match.group(1) is not None:
        return URL
    return REPOST if match.group(2) is not None else MENTION


def mask_numbers(cleaned: str) -> str:
    """Digit runs of five or more as one ``NUMBER``: what the heads see, never what is searched."""
    return _LONG_NUMBER.sub(NUMBER, cleaned)


def own_text(text: str) -> str:
    """What the account itself wrote: everything before the first ``//@`` of a repost chain."""
    match = _REPOST.search(text)
    return text if match is None else text[: match.start()].rstrip()


class _Inside(dict[str, "str | None"]):
    """Word -> its search tokens, separated by blanks; empty for a mark; None when the word is cut
    further by itself, so that the text around it matters. Bounded: words are made up daily."""

    MOST = 100_000

    def __init__(self, jieba: rjieba.Jieba) -> None:
        self._jieba = jieba

    def __missing__(self, word: str) -> str | None:
        if len(self) >= self.MOST:
            self.clear()
        found: str | None
        if len(word) <= 2:
            found = word if word[-1].isalnum() else ""
        elif self._jieba.cut(word) == [word]:
            found = " ".join([w for w in self._jieba.cut_for_search(word) if w[-1].isalnum()])
        else:
            found = None
        self[word] = found
        return found


class Segmenter:
    """jieba's dictionary and algorithm (by rjieba) with weather words on top.

    Holds 33 MB once loaded; not thread-safe while words are added, which only ``__init__`` does.
    """

    def __init__(self, words: Iterable[str] = ()) -> None:
        import rjieba

        self._jieba: rjieba.Jieba = rjieba.Jieba()
        for word in words:
            self._jieba.add_word(word, None, None)
        self._inside = _Inside(self._jieba)

    def cut(self, cleaned: str) -> list[str]:
        """Words in order; joined they give ``cleaned`` again."""
        words: list[str] = self._jieba.cut(cleaned)
        return words

    def search_tokens(self, cleaned: str) -> str:
        """Words and the words inside them, separated by blanks, for the search index.

        Blanks, punctuation and markers are left out, so that each token can be asked for.
        """
        return " ".join([w for w in self._jieba.cut_for_search(cleaned) if w[-1].isalnum()])

    def search_tokens_of(self, words: Sequence[str], cleaned: str) -> str:
        """``search_tokens(cleaned)`` where its words (``cut(cleaned)``) are known already.

        What lies inside a word depends on the word alone, so it is looked up once and kept; only
        a text with a word that is cut further when it stands alone is cut a second time.
        """
        inside = [*map(self._inside.__getitem__, words)]
        if None in inside:
            return self.search_tokens(cleaned)
        return " ".join(filter(None, inside))

    def query_tokens(self, cleaned: str) -> list[str]:
        """The words a person typed, each of which the index of ``search_tokens`` can hold."""
        return [word for word in self._jieba.cut(cleaned) if word[-1].isalnum()]


@cache
def segmenter() -> Segmenter:
    """The segmenter with the shipped weather words, loaded at first use (about .1 s)."""
    return Segmenter(weather_words())


def search_tokens(text: str) -> str:
    """Tokens of one raw text for the search index."""
    return segmenter().search_tokens(clean(text))


def query_tokens(text: str) -> list[str]:
    """Tokens of what somebody typed into a search box."""
    return segmenter().query_tokens(clean(text))
