"""NUL and halves of characters at every door: forms, commands, files. Nothing half written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from sqlalchemy import func, select

from pipeline.app import build
from pipeline.commands.claims import import_claims
from pipeline.settings import load_settings
from pipeline.store import tables as t
from tests.dashboard import seed
from tests.dashboard.conftest import Open, Parts, night, open_as, parts
from tests.dashboard.test_pages import row
from tests.unit.pipeline.test_claim_review import review

__all__ = ["night", "open_as", "parts"]


def test_a_form_says_so_in_one_sentence_and_nothing_is_kept(open_as: Open, parts: Parts) -> None:
    dam = seed.fp("dam")
    with parts.store.read() as conn:
        before = conn.execute(select(func.count()).select_from(t.audit)).scalar_one()
    app = open_as("李值班", sel=f"alert:{dam}")
    app.text_input(key=f"shelve_why_{dam}").set_value("已电话\x00核实").run()
    app.button(key=f"p_shelve_{dam}").click().run()
    said = [e.value for e in app.error]
    assert len(said) == 1 and "无法保存的字符" in said[0] and not app.exception
    assert row(parts, t.alerts, t.alerts.c.fingerprint, dam)["state"] == "new"
    with parts.store.read() as conn:
        assert conn.execute(select(func.count()).select_from(t.audit)).scalar_one() == before
    app.text_input(key=f"shelve_why_{dam}").set_value("已电话核实").run()
    app.button(key=f"p_shelve_{dam}").click().run()
    assert row(parts, t.alerts, t.alerts.c.fingerprint, dam)["state"] == "shelved"


def test_a_command_says_so_in_one_english_line(tmp_path: Path) -> None:
    add = [sys.executable, "-m", "pipeline.cli", "user", "add", "li", "--role", "duty"]
    done = subprocess.run(
        [*add, "--config", str(tmp_path), "--display", b"\xe6\x9d\x8e\xff"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "tingfeng: a text holds NUL or half of a character; nothing was kept,"
        " remove it and try again\n"
    )


def test_what_others_publish_is_cleaned_as_it_is_read(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    file = tmp_path / "feed.json"
    file.write_text(json.dumps([review(claimReviewed="水库\x00今晚\ud83d泄洪")]), "utf-8")
    (done,) = import_claims(settings, [str(file)])
    assert (done.added, done.refused, done.problem) == (1, 0, "")
    app = build(settings)
    with app.store.read() as conn:
        assert conn.execute(select(t.claims.c.claim)).scalar_one() == "水库今晚泄洪"
    app.close()
