"""How the board looks, and the Streamlit options that go with it. Nothing comes from outside.

Colours are pairs for day and night (CSS ``light-dark``). Blue, yellow, orange and red are kept for
weather warnings; the accent is a violet ink, sentiment is deep orange, grey and teal.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib.resources import files
from typing import Any

FONT = (
    '"Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "PingFang SC", '
    '"Microsoft YaHei", "Hiragino Sans GB", sans-serif'
)
ACCENT = "#4c4790"
ACCENT_NIGHT = "#b3aef2"
MARK = "#7e78c4"
"""The accent for pictures: it must be seen on paper and on night."""
SENTIMENT = {"neg": "#c2571a", "neu": "#8b929c", "pos": "#1a8a80"}
STANCE = {"spread": "#c2571a", "question": "#8b929c", "debunk": "#1a8a80", "official": "#7e78c4"}

OPTIONS: dict[str, Any] = {
    "global.developmentMode": False,
    "client.showErrorLinks": False,
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    "client.showSidebarNavigation": False,
    "browser.gatherUsageStats": False,
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.runOnSave": False,
    "server.maxUploadSize": 10,
    "server.enableStaticServing": False,
    "theme.font": FONT,
    "theme.headingFont": FONT,
    "theme.baseFontSize": 15,
    "theme.baseRadius": "6px",
    "theme.light.primaryColor": ACCENT,
    "theme.light.backgroundColor": "#f6f6f4",
    "theme.light.secondaryBackgroundColor": "#ffffff",
    "theme.light.textColor": "#1c2430",
    "theme.light.borderColor": "#d9dadd",
    "theme.dark.primaryColor": ACCENT_NIGHT,
    "theme.dark.backgroundColor": "#12151b",
    "theme.dark.secondaryBackgroundColor": "#1a1f28",
    "theme.dark.textColor": "#e3e6ea",
    "theme.dark.borderColor": "#333a46",
}


def apply_options() -> None:
    """Set Streamlit's options in code, so that the wheel needs no file of its own."""
    from streamlit import config

    for name, value in OPTIONS.items():
        config.set_option(name, value)
    # its tracebacks show values, and a value may be somebody's text; our own line says what failed
    logging.getLogger("streamlit").setLevel(logging.CRITICAL)


@cache
def style() -> str:
    """The board's style sheet as an element."""
    css = files("dashboard").joinpath("html").joinpath("board.css").read_text(encoding="utf-8")
    return f"<style>{css}</style>"
