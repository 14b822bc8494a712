"""What a browser gets while the database is away: one plain page that comes back by itself.

It rests on nothing but this process: no session, no file of ours, no script.
"""

from __future__ import annotations

from datetime import datetime
from html import escape

from dashboard import words

AGAIN_S = 3

_PAGE = """<!doctype html>
<html lang="zh-CN"><head><meta charset="utf-8"><meta http-equiv="refresh" content="{again}">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>暂不可用 · 听风</title>
<style>:root{{color-scheme:light dark}}body{{margin:0;min-height:100vh;display:grid;
place-items:center;font:16px/1.7 "Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif}}
main{{max-width:34rem;padding:1.5rem}}h1{{font-size:1.5rem;margin:0 0 .6rem}}</style></head>
<body><main><h1>{head}</h1><p>恢复前不能查看和办理；恢复后本页自动打开，无需刷新。已办结的操作都已保存。</p>
</main></body></html>
"""


def away_page(what: str, since: datetime) -> str:
    """The page. ``what`` is away, in Chinese; no more is told to who has not logged in."""
    head = f"{what} {words.beijing(since):%m-%d %H:%M} 起无应答"
    return _PAGE.format(again=AGAIN_S, head=escape(head))
