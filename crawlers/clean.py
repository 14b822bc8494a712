"""Text and figures as sites write them, made plain: characters, HTML, counts, Weibo ids."""

from __future__ import annotations

import re
from typing import Any

from lxml import etree, html

BASE62 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

# NUL and lone surrogates cannot be stored; the others are invisible or private marks of sites.
_ODD = re.compile("[\x00\ud800-\udfff\u200b\ufeff\ue627\r\x0b\x0c]")
_COUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([万亿wWkK千]?)\s*\+?")
_SCALE = {"": 1, "千": 10**3, "k": 10**3, "万": 10**4, "w": 10**4, "亿": 10**8}
_BLOCKS = {"p", "div", "li", "tr", "h1", "h2", "h3", "h4", "section", "article", "blockquote"}


def clean_text(text: str) -> str:
    """The text without NUL and invisible marks; a lone surrogate becomes U+FFFD."""
    if _ODD.search(text):
        text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x0b", "\n")
        text = re.sub("[\ud800-\udfff]", "\ufffd", text)
        text = _ODD.sub("", text)
    return text.strip()


def html_to_text(source: str) -> str:
    """The words of an HTML fragment. Blocks become lines, an emoji picture its ``alt``."""
    source = clean_text(source)
    if "<" not in source and "&" not in source:
        return source
    try:
        root = html.fragment_fromstring(source, create_parent="div")
    except (etree.ParserError, etree.XMLSyntaxError, ValueError):
        return clean_text(re.sub(r"<[^>]*>", " ", source))
    parts: list[str] = []
    _walk(root, parts)
    lines = (re.sub(r"[ \t\xa0]+", " ", line).strip() for line in "".join(parts).split("\n"))
    return "\n".join(line for line in lines if line)


def _walk(node: Any, parts: list[str]) -> None:
    stack: list[tuple[Any, bool]] = [(node, False)]
    while stack:  # not recursive: the depth of a page is its author's choice
        element, leaving = stack.pop()
        tag = element.tag if isinstance(element.tag, str) else ""
        if leaving:
            if tag in _BLOCKS:
                parts.append("\n")
            if element is not node:
                parts.append(element.tail or "")
            continue
        stack.append((element, True))
        if tag in ("", "script", "style"):
            continue
        if tag == "br" or tag in _BLOCKS:
            parts.append("\n")
        elif tag == "img" and (element.get("alt") or "").startswith("["):
            parts.append(element.get("alt"))
        parts.append(element.text or "")
        stack.extend((child, False) for child in reversed(list(element)))


def parse_count(value: Any) -> int:
    """``12``, ``"1.2万"``, ``"100万+"`` -> a whole number >= 0; 0 for what says none."""
    if isinstance(value, bool) or value is None:
        return 0
    if isinstance(value, (int, float)):
        return max(0, int(value)) if value == value and abs(value) < 1e15 else 0
    match = _COUNT.search(str(value).replace(",", "")[:32])
    if match is None:
        return 0
    return round(float(match[1]) * _SCALE[match[2].lower()])


def weibo_mid(bid: str) -> str:
    """The 16-digit number of a Weibo post from the letters in its link (``HyTZc60ew``).

    Base 62, four letters for seven digits, counted from the right. Empty when it is none.
    """
    if not bid or any(letter not in BASE62 for letter in bid):
        return ""
    if bid.isdigit():
        return bid
    groups = []
    for end in range(len(bid), 0, -4):
        number = 0
        for letter in bid[max(0, end - 4) : end]:
            number = number * 62 + BASE62.index(letter)
        groups.append(f"{number:07d}")
    return "".join(reversed(groups)).lstrip("0")
