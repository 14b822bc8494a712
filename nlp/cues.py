"""Named patterns that an officer would point at: a call for help, hearsay, a denial.

They say what is in the text, beside what the heads make of it, and are shown with it. Measured as
extra features of the heads they brought nothing (the character n-grams hold them already), so the
heads do without. All look at the cleaned text, where links, names and blanks are marked. Every
repetition has a bound, so that no text makes a pattern slow.
"""

from __future__ import annotations

import re

CUES: dict[str, re.Pattern[str]] = {
    name: re.compile("|".join(parts))
    for name, parts in {
        "call_for_help": (
            r"求助|求救|救命|救救|急求|求扩|快来救|来人救|谁能[来救帮]",
            r"求(?:一?艘|条|只)?(?:船|艇)",
        ),
        "people_trapped": (
            r"(?:被|围|受)困|困(?:在|住)|出不[来去](?:了)?.{0,6}(?:水|雪|路)|失联|联系不上",
        ),
        "people_at_risk": (
            r"老人|孕妇|产妇|婴儿|奶娃|小孩|孩子|病人|透析|残疾|瘫痪|阿婆|阿公|奶奶|爷爷",
        ),
        "need_goods": (
            r"(?:急需|紧缺|缺|需要|没有?).{0,8}(?:船|艇|药|饮用水|吃的|食物|帐篷|物资|发电机|奶粉|被褥)",
        ),
        "contact": (
            r"(?:电话|联系人|联系方式|微信|手机)[::]?\s*[0-9一-龥]{0,6}[0-9*]{3,}",
            r"1[0-9]{2}[0-9*]{6,8}",
        ),
        "address": (
            r"[一-龥0-9]{2,6}(?:村|屯|路|街|巷|小区|花园).{0,10}?[0-9一二三四五六七八九十]{1,5}(?:号|栋|幢|单元|楼|队|组)",
        ),
        "water_level": (
            r"水(?:位|深|已经?|都|快|漫|淹)?.{0,6}(?:膝|腰|胸|脖|床|门槛|车窗|车门|[一二三1-9]楼|[0-9一二两三]米)",
            r"齐腰|没过",
        ),
        "supply_cut": (r"[停断]水[停断]?电?|[停断]电|停气|没(?:有)?信号|断网",),
        "rescued": (r"已(?:经)?(?:获救|脱险|安全|解决|转移|救出)|平安了|报平安",),
        "offer": (
            r"(?:免费|无偿).{0,8}(?:提供|住|接|送|拿|吃|用)|可以(?:接待|收留|提供|借)",
            r"志愿者?.{0,4}(?:报名|集合)|管够",
        ),
        "hearsay": (
            r"听(?:说|讲|人|闻|朋友|邻居)|据说|网传|群里(?:说|传|都)|朋友圈(?:说|传|都)",
            r"内部消息|有人(?:说|讲|传)|同事说|小道消息",
        ),
        "spread_this": (
            r"速转|扩散|转发(?:给|周知|出去)|互相转告|转给.{0,6}(?:家|朋友|亲)|紧急通知",
        ),
        "is_it_true": (
            r"真的?(?:吗|么|假的?|嘛)|真假|是不是真|属实(?:吗|么|\?)|求证|求辟谣",
            r"有没有(?:这回事|人知道)|谣言吗|靠谱(?:吗|么)",
        ),
        "debunk": (
            r"辟谣|不实|谣言|不信谣|造谣|别信|不要(?:相信|信|传)|勿(?:信|传)|假的[,。!]|虚假",
            r"旧(?:图|视频)|移花接木|并未",
        ),
        "dam_release": (r"泄洪|开闸|放水|溃(?:坝|堤|口)|决(?:堤|口)|垮坝|漫坝|管涌",),
        "closure": (r"停课|停工|停运|停航|封(?:路|桥|闭)|延迟(?:返校|开学)|放假通知",),
        "forecast_complaint": (
            r"(?:预报|气象台|气象局|天气预报|预警).{0,12}(?:不准|打脸|骗|失误|错|瞎|又没|马后炮|晚了|没用)",
            r"说好的.{0,6}(?:雨|雪|台风|降温|呢)",
        ),
        "casualties": (
            r"(?:死|遇难|身亡|伤亡|失踪|受伤).{0,6}[0-9一二三四五六七八九十百几多]{1,5}.{0,2}(?:人|名)",
            r"[0-9一二三四五六七八九十百几]{1,5}(?:人|名)(?:死|遇难|身亡|伤|失踪)",
        ),
        "figurative": (
            r"(?:掌声|表白|弹幕|红包|金币|眼泪|情绪|信息|股市|业绩|流量|尖叫).{0,3}(?:雨|风暴|雷鸣|洪水|海啸|雪崩|如潮)",
            r"(?:暴风雨|雷鸣|潮水)般",
        ),
        "fan_text": (
            r"演唱会|专辑|新歌|电影|电视剧|小说|番外|打榜|粉丝|超话|角色|游戏|开服|比赛|联赛",
            r"球队|总决赛",
        ),
        "advert": (
            r"包邮|下单|优惠券?|满减|秒杀|限时|抢购|清仓|促销|领取|扫码|加微|打折|[0-9.]{1,4}折",
            r"点击链接|同款",
        ),
    }.items()
}


def find_cues(cleaned: str) -> tuple[str, ...]:
    """Names of the cues in a cleaned text, in the order of ``CUES``.

    >>> find_cues("听说水库今晚开闸,真的假的?")
    ('hearsay', 'is_it_true', 'dam_release')
    """
    return tuple([name for name, cue in CUES.items() if cue.search(cleaned)])
