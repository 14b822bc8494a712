"""判读: models, thresholds, drift and disagreements, by the people who see them."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from sqlalchemy import select

from nlp import weights
from pipeline.desk import labels, models, spot_checks
from pipeline.stages.drift import count_days
from pipeline.store import tables as t
from pipeline.store.sql import verify_audit
from tests.dashboard import seed
from tests.dashboard.conftest import NIGHT, Open, Parts
from tests.dashboard.test_pages import text


def admin_page(open_as: Open):  # type: ignore[no-untyped-def]
    app = open_as("蒙系统", "admin")
    app.button_group(key="admin_part").set_value("judging").run()
    assert not app.error
    return app


def disagree(parts: Parts) -> str:
    """李值班 and 周值班 correct the first post of an event to different kinds."""
    with parts.store.begin(NIGHT) as tx:
        post = tx.conn.execute(
            select(t.events.c.first_post_id).where(t.events.c.id == seed.eid("dam"))
        ).scalar_one()
        for name, kind in (("李值班", "impact"), ("周值班", "help")):
            labels.correct_label(
                tx, seed.actor(name), post, "kind", "talk", kind, "<b>坝</b>下的水很急"
            )
    return str(post)


CURVE = [[0.1, 0.5, 0.99, 0.2], [0.3, 0.7, 0.96, 0.12], [0.6, 0.9, 0.8, 0.05]]


def another_model(parts: Parts, name: str = "2026-11-24-copy") -> str:
    """The shipped model under another name, with figures for its thresholds on the card."""
    folder = parts.settings.models_dir
    path = models.model_path(folder, models.SHIPPED)
    with np.load(path) as stored:
        arrays = {k: stored[k] for k in stored.files if k != "card"}
    card = weights.read_card(path)
    card["curves"] = dict.fromkeys(("help", "irrelevant", "unsure.kind"), CURVE)
    weights.save(folder / f"{name}.npz", arrays, card | {"version": name})
    return name


def test_the_leader_has_the_page_and_the_officer_has_not(open_as: Open) -> None:
    shown = text(open_as("韦带班", "judging"))
    assert "随系统发布" in shown and "在用" in shown
    assert "judging" not in open_as("李值班").session_state["_pages"]


def test_what_a_threshold_gives_is_read_off_the_models_curve(open_as: Open, parts: Parts) -> None:
    assert "没有测过此值" in text(open_as("韦带班", "judging")) or weights.read_card().get("curves")
    name = another_model(parts)
    with parts.store.begin(NIGHT) as tx:
        models.use_model(tx, seed.actor("韦带班"), parts.settings.models_dir, name, "试用")
    shown = text(open_as("韦带班", "judging"))
    level = parts.detect_rules.help.threshold
    assert 0.3 < level < 0.6, "the rule in force, not the model's advice, is what is shown"
    part = (level - 0.3) / 0.3
    assert f"求助的有 {0.96 - part * 0.16:.0%} 被找出" in shown
    assert "首先提示对的说法" in shown and "归入的有" in shown


def test_a_person_decides_with_the_comparison_before_them(open_as: Open, parts: Parts) -> None:
    name = another_model(parts)
    row = {"set": "held-back corrections", "head": "rumour", "n": 90, "verdict": "better"}
    row |= {"accuracy": 0.8, "accuracy_new": 0.9, "accuracy_by": [0.02, 0.18]}
    models.keep_comparison(parts.settings.models_dir, name, models.SHIPPED, [row], NIGHT)
    app = open_as("韦带班", "judging")
    shown = text(app)
    assert "留出的更正" in shown and "0.800 → 0.900［+0.020，+0.180］" in shown and "更好" in shown
    app.button(key=f"use_go_{name}").click().run()
    assert used(parts) == models.SHIPPED, "without a reason nothing happens"
    app.text_input(key=f"use_why_{name}").set_value("传言判读明显更好").run()
    app.button(key=f"use_go_{name}").click().run()
    assert used(parts) == name
    assert "传言判读明显更好" in text(app) and "韦带班" in text(app)
    app.text_input(key="back_why").set_value("误报增多").run()
    app.button(key="back_go").click().run()
    assert used(parts) == models.SHIPPED
    with parts.store.read() as conn:
        acts = conn.execute(select(t.audit.c.act).order_by(t.audit.c.seq)).scalars().all()
        assert acts[-2:] == ["use_model", "use_model"] and verify_audit(conn).ok


def test_a_file_that_went_or_broke_is_said_and_never_a_crash(open_as: Open, parts: Parts) -> None:
    folder = parts.settings.models_dir
    name = another_model(parts)
    app = open_as("韦带班", "judging")
    (folder / f"{name}.npz").unlink()  # between looking and clicking
    app.text_input(key=f"use_why_{name}").set_value("试用").run()
    assert not app.exception and used(parts) == models.SHIPPED
    another_model(parts)
    with parts.store.begin(NIGHT) as tx:
        models.use_model(tx, seed.actor("韦带班"), folder, name, "试用")
    (folder / f"{name}.npz").unlink()
    (folder / "2026-11-25-torn.npz").write_bytes(b"PK")
    shown = text(open_as("韦带班", "judging"))
    assert f"启用的模型 {name} 文件缺失" in shown
    assert "2026-11-25-torn" in shown and "不能使用" in shown


def used(parts: Parts) -> str:
    with parts.store.read() as conn:
        return models.in_use(conn)


def test_a_post_can_be_corrected_where_it_is_found(open_as: Open, parts: Parts) -> None:
    app = open_as("李值班", "events")
    app.button_group(key="events_mode").set_value("posts").run()
    button = next(b for b in app.button if str(b.key).startswith("fix_go_"))
    post = str(button.key).removeprefix("fix_go_")
    app.selectbox(key=f"fix_head_{post}").set_value("urgency").run()
    app.selectbox(key=f"fix_new_{post}_urgency").set_value("3").run()
    app.button(key=f"fix_go_{post}").click().run()
    with parts.store.read() as conn:
        last = labels.corrections(conn)[-1]
    assert (last.post_id, last.head, last.new, last.by) == (post, "urgency", "3", "李值班")
    assert "人工更正" in text(app) and "李值班：紧急" in text(app)


def test_a_drawn_post_is_read_without_the_machines_answer(open_as: Open, parts: Parts) -> None:
    day = spot_checks.yesterday(NIGHT + timedelta(days=1))
    drawn = spot_checks.draw(parts.index, day)
    assert 0 < len(drawn) <= spot_checks.PER_DAY
    assert [i.post.id for i in drawn] == [i.post.id for i in spot_checks.draw(parts.index, day)]
    parts.clock.at += timedelta(days=1)
    app = open_as("李值班", "events", m="check")
    shown, post = text(app), drawn[0].post.id
    assert f"还有 {len(drawn)} 条" in shown and "机器判读：" not in shown
    app.button(key=f"check_go_{post}").click().run()
    with parts.store.read() as conn:
        assert spot_checks.checked(conn, [post]) == set(), "all four are asked"
    for head, value in (("kind", "help"), ("sentiment", "neg"), ("urgency", "3")):
        app.selectbox(key=f"check_{post}_{head}").set_value(value).run()
    app.selectbox(key=f"check_{post}_rumour").set_value(drawn[0].annotation.rumour).run()
    app.button(key=f"check_go_{post}").click().run()
    assert f"还有 {len(drawn) - 1} 条" in text(app)
    with parts.store.read() as conn:
        assert spot_checks.accuracy(conn, parts.clock.at)["rumour"] == (1, 1)
        assert verify_audit(conn).ok
    assert "抽查准确率" in text(open_as("韦带班", "judging"))


def test_two_officers_who_differ_are_shown_and_a_leader_settles(
    open_as: Open, parts: Parts
) -> None:
    post = disagree(parts)
    shown = text(admin_page(open_as))
    assert "判读分歧 1" in shown
    assert "李值班：灾情" in shown or "李值班：" in shown
    assert "<b>坝" not in shown, "a post is never markup"
    app = open_as("韦带班", "events", id=seed.eid("dam"))
    assert "人工更正" in text(app) and "有分歧" in text(app)
    app.selectbox(key=f"settle_to_{post}_kind").set_value("impact").run()
    app.button(key=f"settle_go_{post}_kind").click().run()
    with parts.store.read() as conn:
        last = labels.corrections(conn)[-1]
    assert (last.new, last.settles, last.by) == ("impact", True, "韦带班")
    assert "判读分歧 0" in text(admin_page(open_as))


def test_drift_counts_what_the_index_holds(open_as: Open, parts: Parts) -> None:
    assert count_days(parts.store, parts.index, NIGHT) == 7  # yesterday, today, five older days
    with parts.store.read() as conn:
        rows = conn.execute(select(t.label_days)).mappings().all()
    today = [r for r in rows if r["day"] == "2026-11-24" and r["source"]]
    assert sum(r["posts"] for r in today) > 0
    for row in today:
        assert sum(row["counts"]["labels"]["kind"].values()) == row["posts"]
        assert row["counts"]["sampled"] <= row["posts"]
    before = len(rows)
    count_days(parts.store, parts.index, NIGHT)
    with parts.store.read() as conn:
        again = conn.execute(select(t.label_days)).mappings().all()
    kept = {(r["day"], r["source"]): r["posts"] for r in rows}
    assert (
        len(again) > before
        and kept.items() <= {(r["day"], r["source"]): r["posts"] for r in again}.items()
    )
    assert "近 7 天" in text(admin_page(open_as))
    count_days(parts.store, parts.index, NIGHT + timedelta(days=60))
    with parts.store.read() as conn:
        days = set(conn.execute(select(t.label_days.c.day)).scalars())
    assert min(days) > "2026-12-01", "days out of sight are forgotten"
