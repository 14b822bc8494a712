"""Markup that cannot carry a stranger's markup: every plain string is escaped.

``tag("b", post.text)`` escapes the text; only what ``tag`` itself made (``Safe``) passes as it is.
So a post that says ``<script>`` is shown as these letters, wherever it goes.
"""

from __future__ import annotations

from html import escape

import streamlit as st


class Safe(str):
    """Markup made by ``tag`` or written by us in the source; nothing else may be called safe."""

    __slots__ = ()


def tag(name: str, *children: str, cls: str = "", title: str = "", **attributes: str) -> Safe:
    """One element. ``children``: escaped unless ``Safe``. ``title``: shown on hover."""
    given = {"class": cls, "title": title, **attributes}
    attrs = "".join(
        f' {key.replace("_", "-")}="{escape(value)}"' for key, value in given.items() if value
    )
    return Safe(f"<{name}{attrs}>{join(*children)}</{name}>")


def join(*children: str, gap: str = "") -> Safe:
    """Several pieces one after the other, each escaped unless ``Safe``."""
    return Safe(gap.join(c if isinstance(c, Safe) else escape(c) for c in children if c != ""))


def div(*children: str, cls: str = "", title: str = "", **attributes: str) -> Safe:
    return tag("div", *children, cls=cls, title=title, **attributes)


def span(*children: str, cls: str = "", title: str = "") -> Safe:
    return tag("span", *children, cls=cls, title=title)


def show(*children: Safe) -> None:
    """Put markup on the page."""
    st.html("".join(children))
