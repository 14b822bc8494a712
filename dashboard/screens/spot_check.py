"""抽查: five posts of yesterday, drawn by chance, to be read without the machine's answer."""

from __future__ import annotations

from functools import partial

import streamlit as st

from dashboard import widgets, words
from dashboard.acting import Visit, do
from dashboard.markup import div, show, span
from pipeline.desk import labels, spot_checks
from pipeline.domain.post import AnnotatedPost
from pipeline.domain.rights import Actor
from pipeline.store.sql import Tx


def page(visit: Visit) -> None:
    desk = visit.desk
    day = spot_checks.yesterday(desk.now())
    drawn = desk.shared.get(("spot", day), 600, lambda: spot_checks.draw(desk.index, day))
    with desk.store.read() as conn:
        done = spot_checks.checked(conn, [item.post.id for item in drawn])
    left = [item for item in drawn if item.post.id not in done]
    widgets.title(
        f"抽查 {day:%m-%d}：还有 {len(left)} 条，共 {len(drawn)} 条",
        "随机抽取，不显示机器判读；用来衡量判读的准确率，不用于训练",
    )
    if not drawn:
        widgets.empty("昨天没有帖文可抽。")
    elif not left:
        widgets.empty("昨天的抽查已做完。明天零点后再抽。")
    for item in left:
        one(visit, item)


def one(visit: Visit, item: AnnotatedPost) -> None:
    """The text and four questions, none answered beforehand."""
    post = item.post
    title = f"{post.title} " if post.title else ""
    show(
        div(
            div(title, post.text, cls="txt"),
            div(
                span(words.ago(post.published_at, visit.desk.now())),
                span(f"{post.source} · {words.AUTHOR_WORDS.get(post.author_kind, '')}"),
                cls="meta",
            ),
            cls="post",
        )
    )
    said: dict[str, tuple[str, str]] = {}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for head, named in words.LABEL_WORDS.items():
            chosen = st.selectbox(
                words.HEAD_WORDS[head],
                list(named),
                index=None,
                placeholder="未选",
                format_func=named.__getitem__,
                key=f"check_{post.id}_{head}",
                width=130,
            )
            said[head] = (str(getattr(item.annotation, head)), chosen or "")
        if st.button("记下", key=f"check_go_{post.id}", type="primary") and do(
            visit.desk, partial(_check, post.id, said, post.full_text), "已记下抽查"
        ):
            st.rerun()


def _check(post_id: str, said: dict[str, tuple[str, str]], text: str, tx: Tx, who: Actor) -> None:
    labels.check_post(tx, who, post_id, said, text)
