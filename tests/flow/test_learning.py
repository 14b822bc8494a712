"""From an officer's corrections to another model at work, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from sqlalchemy import select
from typer.testing import CliRunner

from nlp import weights
from nlp.claims import load_library
from nlp.errors import LabelledFileError
from pipeline import claim_thresholds
from pipeline.app import App, build
from pipeline.cli import app as cli
from pipeline.commands import models as command
from pipeline.commands.doctor import examine
from pipeline.current import CurrentAnnotator
from pipeline.desk import claims, labels, models, users
from pipeline.domain.rights import Actor, Role
from pipeline.errors import IllegalTransition, MissingFields, NotAllowed, NotFound
from pipeline.settings import load_settings
from pipeline.store import tables as t
from pipeline.store.sql import verify_audit
from tests.unit.nlp.texts import drill_rows

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
DUTY = Actor(1, "李值班", Role.DUTY)
LEADER = Actor(2, "张带班", Role.LEADER)
SPOTS = (
    *("民族大道", "竹溪立交", "白沙大桥", "安吉客运站", "江南客运站"),
    *("凤岭南路", "仙葫大道", "星光大道", "秀厢大道", "友爱路"),
)
SAYINGS = (
    "{}那个老地方又开始养鱼了",
    "{}今天又可以划船上班咯",
    "{}门口的海景房上线",
    "{}今日免费游泳，鞋子自备",
    "来{}看海，不收门票",
)  # people here mean water on the road; the shipped model reads small talk


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A command run in this process leaves its logs on a stream that is closed afterwards."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("learning")


@pytest.fixture(scope="module")
def app(home: Path) -> App:
    app = build(load_settings(home))
    with app.store.begin(NOW) as tx:
        claims.seed_library(tx, load_library())
    return app


@pytest.fixture(scope="module")
def said(app: App) -> list[str]:
    texts = [saying.format(spot) for spot in SPOTS for saying in SAYINGS]
    with app.store.begin(NOW) as tx:
        for n, text in enumerate(texts):
            labels.correct_label(tx, DUTY, f"p{n}", "kind", "talk", "impact", text)
    return texts


@pytest.fixture(scope="module")
def challenger(app: App, said: list[str]) -> tuple[str, list[dict[str, Any]]]:
    rows = command.train_challenger(app, [])
    return str(rows[0]["challenger"]), rows


def use(app: App, name: str, actor: Actor = LEADER) -> None:
    with app.store.begin(NOW) as tx:
        models.use_model(tx, actor, app.settings.models_dir, name, "更懂南宁话")


def test_too_few_corrections_make_no_model(tmp_path: Path) -> None:
    with pytest.raises(LabelledFileError, match="at least 20"):
        command.train_challenger(build(load_settings(tmp_path)), [])


def test_a_challenger_learns_what_was_held_back_from_it(
    app: App, said: list[str], challenger: tuple[str, list[dict[str, Any]]]
) -> None:
    name, rows = challenger
    learned, held = rows[0]["learned"], rows[0]["held_back"]
    assert 0 < held < len(said) / 2 < learned and learned + held <= len(said)
    kind = next(r for r in rows if r.get("head") == "kind")
    assert (kind["set"], kind["n"]) == ("held-back corrections", held)
    assert kind["accuracy_new"] > kind["accuracy"]
    assert kind["verdict"] == "selected", "the machine was wrong on all of them by choice"
    with app.store.read() as conn:
        assert models.in_use(conn) == models.SHIPPED, "a challenger judges nothing by itself"
    listed = {found.name: found for found in models.list_models(app.settings.models_dir)}
    compared = listed[name].compared
    assert compared is not None
    assert list(compared.rows) == rows[1:], "kept for whoever decides"
    card = weights.read_card(app.settings.models_dir / f"{name}.npz")
    assert card["adapted"]["corrections"]["kind"] == learned
    assert card["adapted"]["penalty"]["sentiment"] is None, "heads nobody corrected stay"


def test_the_same_corrections_give_the_same_bytes(
    app: App, challenger: tuple[str, list[dict[str, Any]]]
) -> None:
    path = app.settings.models_dir / f"{challenger[0]}.npz"
    before = path.read_bytes()
    command.train_challenger(app, [])
    assert path.read_bytes() == before


def test_heads_that_nobody_corrected_answer_as_before(
    app: App, challenger: tuple[str, list[dict[str, Any]]]
) -> None:
    from nlp.annotator import Annotator
    from nlp.training.card import hard_examples

    texts = [row.text for row in hard_examples()]
    path = app.settings.models_dir / f"{challenger[0]}.npz"
    old, new = (Annotator.load(p).score(texts) for p in (None, path))
    for head in ("sentiment", "urgency", "rumour"):
        assert np.abs(old.of(head) - new.of(head)).max() < 0.05
    assert (old.of("kind").argmax(1) == new.of("kind").argmax(1)).mean() > 0.8


def test_a_person_puts_it_to_work_and_takes_it_back(
    app: App, said: list[str], challenger: tuple[str, list[dict[str, Any]]]
) -> None:
    seconds = [0.0]
    running = CurrentAnnotator(app, seconds=lambda: seconds[0])
    shipped = running.model_version
    with pytest.raises(NotAllowed):
        use(app, challenger[0], DUTY)
    use(app, challenger[0])
    with pytest.raises(IllegalTransition, match="正在使用"):
        use(app, challenger[0])
    assert running.annotate(said[:1])[0].model == shipped, "not within the same five seconds"
    seconds[0] = 6.0
    assert running.annotate(said[:1])[0].model == challenger[0]
    with app.store.begin(NOW) as tx:
        assert models.back(tx, LEADER, app.settings.models_dir, "误报增多") == models.SHIPPED
    seconds[0] = 12.0
    assert running.annotate(said[:1])[0].model == shipped
    with app.store.read() as conn:
        assert [u["version"] for u in models.uses(conn)] == ["", challenger[0]]
        assert verify_audit(conn).ok


def test_a_damaged_model_is_replaced_by_the_shipped_one_and_said(
    app: App, challenger: tuple[str, list[dict[str, Any]]]
) -> None:
    folder = app.settings.models_dir
    broken = folder / "2026-01-01-broken.npz"
    whole = (folder / f"{challenger[0]}.npz").read_bytes()
    broken.write_bytes(whole)
    use(app, broken.stem)
    broken.write_bytes(whole[: len(whole) // 2])
    seconds = [0.0]
    running = CurrentAnnotator(app, seconds=lambda: seconds[0])
    assert broken.stem in running.problem
    assert running.annotate(["好大的雨"])[0].model == weights.load().version
    broken.write_bytes(whole)
    seconds[0] = 6.0
    assert running.annotate(["好大的雨"])[0].model == challenger[0], "a restored file is taken up"
    assert running.problem == ""
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NotFound, match="缺失或损坏"):
        use(app, "2026-01-01-nothing")
    with pytest.raises(MissingFields):
        use(app, "../../etc/passwd")
    found = {finding.subject: finding for finding in examine(app.settings.home)}
    assert not found["model"].ok and "model back" in found["model"].text
    with app.store.begin(NOW) as tx:
        models.back(tx, LEADER, folder, "文件损坏")
    broken.unlink()


def labelled_files(folder: Path) -> list[Path]:
    rows = drill_rows()
    parts = {"own.jsonl": rows[1::2], "real.jsonl": [{**r, "source": "drill"} for r in rows[::2]]}
    for name, part in parts.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in part)
        (folder / name).write_text("".join(lines), encoding="utf-8")
    return [folder / name for name in parts]


def test_from_files_and_corrections_to_a_model_at_work_by_command(
    app: App, said: list[str], tmp_path: Path
) -> None:
    with app.store.begin(NOW) as tx:
        users.first_users(tx)
    home = app.settings.home
    files = [str(path) for path in labelled_files(tmp_path)]

    def run(*words: str) -> str:
        done = CliRunner().invoke(cli, [*words, "--config", str(home)])
        assert done.exit_code == 0, done.output
        return done.stdout

    made, *rows = [
        json.loads(line)
        for line in run("train", *files, "--with-corrections", "--json").splitlines()
    ]
    name = made["challenger"]
    card = weights.read_card(app.settings.models_dir / f"{name}.npz")
    assert {"set": "corrections", "texts": made["learned"]}.items() <= next(
        d for d in card["data"] if d["set"] == "corrections"
    ).items()
    assert "adapted" not in card and card["curves"]["help"], "trained anew, thresholds measured"
    kind = next(r for r in rows if r["head"] == "kind")
    assert kind["accuracy_new"] > kind["accuracy"], "it learned what people here mean"
    assert not (app.settings.models_dir / "training").exists()
    table = run("evaluate", *files, "--challenger", name).splitlines()
    assert table[0].split()[:3] == ["set", "head", "n"] and len(table) > 8
    assert "→" in table[1] and any("help" in line for line in table)
    leader = next(u["name"] for u in people(app) if u["role"] == "leader")
    assert "model back" in run("model", "use", name, "--by", leader, "--reason", "更懂南宁话")
    assert [
        row["model"]
        for row in map(json.loads, run("model", "list", "--json").splitlines())
        if row["in_use"]
    ] == [name]
    assert "shipped" in run("model", "back", "--by", leader, "--reason", "误报增多")
    duty = next(u["name"] for u in people(app) if u["role"] == "duty")
    refused = CliRunner().invoke(
        cli, ["model", "use", name, "--by", duty, "--reason", "x", "--config", str(home)]
    )
    assert isinstance(refused.exception, NotAllowed)
    with app.store.read() as conn:
        assert models.in_use(conn) == models.SHIPPED and verify_audit(conn).ok


def people(app: App) -> list[dict[str, Any]]:
    with app.store.read() as conn:
        return [dict(row) for row in conn.execute(select(t.users)).mappings()]


def test_another_claim_is_known_to_a_running_annotator(app: App) -> None:
    seconds = [0.0]
    running = CurrentAnnotator(app, seconds=lambda: seconds[0])
    text = "听说青秀山顶的观景台昨晚被风吹下山了"
    assert running.annotate([text])[0].claims == ()
    with app.store.begin(NOW) as tx:
        claims.add_claim(tx, DUTY, claim="青秀山顶的观景台被风吹下山", verdict="尚待核实")
    seconds[0] = 6.0
    assert running.annotate([text])[0].claims != ()


def test_own_thresholds_are_used_and_wrong_ones_refused(tmp_path: Path) -> None:
    (tmp_path / "tingfeng.toml").write_text('thresholds = {"unsure.kind" = 1.0}\n', "utf-8")
    running = CurrentAnnotator(build(load_settings(tmp_path)))
    assert "kind" in running.annotate(["南宁今天又下雨了"])[0].unsure
    (tmp_path / "tingfeng.toml").write_text('thresholds = {"kind" = 0.5}\n', "utf-8")
    with pytest.raises(Exception, match=r"unsure\.kind"):
        load_settings(tmp_path)


def test_thresholds_of_claims_follow_the_setting(tmp_path: Path) -> None:
    app = build(load_settings(tmp_path))
    with app.store.begin(NOW) as tx:
        claims.add_claim(tx, DUTY, claim="青秀山顶的观景台被风吹下山", verdict="尚待核实")
    text = "听说青秀山顶的观景台昨晚被风吹下山了"
    assert CurrentAnnotator(app).annotate([text])[0].claims != ()
    (tmp_path / "tingfeng.toml").write_text('thresholds = {"claims.suggest" = 1.0}\n', "utf-8")
    settings = load_settings(tmp_path)
    kept = claim_thresholds.in_force(settings)
    assert kept.typed and kept.thresholds.suggest == kept.thresholds.confirm == 1.0
    assert CurrentAnnotator(build(settings)).annotate([text])[0].claims == ()
