"""判读: models, thresholds, drift and disagreements, by the people who see them."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from pipeline.desk import labels, models
from pipeline.stages.drift import count_days
from pipeline.store import tables as t
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


def test_the_shipped_model_is_in_use_with_what_its_thresholds_give(open_as: Open) -> None:
    shown = text(admin_page(open_as))
    assert "随系统发布" in shown and "在用" in shown
    assert "占" in shown and "判错的有" in shown, "the model's card must hold the curves"


def test_a_choice_and_its_reason_are_listed(open_as: Open, parts: Parts) -> None:
    folder = parts.settings.models_dir
    folder.mkdir()
    copy = folder / "2026-11-24-copy.npz"
    copy.write_bytes(models.model_path(folder, models.SHIPPED).read_bytes())
    (folder / "2026-11-25-torn.npz").write_bytes(b"PK")
    with parts.store.begin(NIGHT) as tx:
        models.use_model(tx, seed.actor("韦带班"), folder, copy.stem, "传言判读明显更好")
    shown = text(admin_page(open_as))
    assert "传言判读明显更好" in shown and "韦带班" in shown
    assert "2026-11-25-torn" in shown and "damaged" in shown


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
