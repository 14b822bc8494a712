"""From a ClaimReview feed to the annotator's claims, and new thresholds, while a worker runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from pipeline import claim_thresholds
from pipeline.app import App, build
from pipeline.commands.claims import calibrate_claims, import_claims
from pipeline.commands.doctor import _claims
from pipeline.current import LOOK_EVERY_S, CurrentAnnotator
from pipeline.desk import claims
from pipeline.domain.rights import Actor, Role
from pipeline.errors import SettingsError
from pipeline.portal.site import Site, load_pages, publish
from pipeline.settings import Settings, load_settings
from pipeline.store import tables as t
from tests.flow.test_portal import CASE, CLARIFICATION, release
from tests.unit.pipeline.test_claim_review import review

DATA = Path(__file__).parents[1] / "unit" / "nlp" / "data"
DUTY = Actor(1, "李值班", Role.DUTY)
CLAIM = "武鸣区青龙水库大坝裂开，今晚炸坝泄洪，下游五个村连夜撤离"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path)


@pytest.fixture
def app(settings: Settings) -> Iterator[App]:
    made = build(settings)
    yield made
    made.close()


def library(app: App) -> list[dict[str, Any]]:
    with app.store.read() as conn:
        return [dict(row) for row in conn.execute(select(t.claims)).mappings()]


def test_a_file_is_imported_once_and_what_is_bad_is_kept_with_its_reason(
    settings: Settings, app: App, tmp_path: Path
) -> None:
    path = tmp_path / "feed.json"
    path.write_text(
        json.dumps([review(claimReviewed=CLAIM), review(claimReviewed="")]), encoding="utf-8"
    )
    (first,) = import_claims(settings, [str(path)])
    assert (first.read, first.added, first.known, first.refused) == (2, 1, 0, 1)
    assert "claimReviewed" in first.reasons[0]
    (row,) = library(app)
    assert (row["claim"], row["verdict"], row["origin"]) == (CLAIM, "失实", "import")
    assert row["date"] == "2026-06-20"
    (letter,) = app.bus.dead()
    assert "claimReviewed" in letter.error
    (again,) = import_claims(settings, [str(path)])
    assert (again.added, again.known) == (0, 1)
    assert len(library(app)) == 1


def test_a_missing_file_is_one_clear_line(settings: Settings, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "claims", "import", str(tmp_path / "none.json"),
         "--config", str(settings.home)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "cannot be read" in done.stdout


def test_our_own_portal_round_trips(app: App, tmp_path: Path) -> None:
    now = app.now()
    with app.store.begin(now) as tx:
        tx.conn.execute(insert(t.cases), CASE)
        tx.conn.execute(insert(t.clarifications), CLARIFICATION)
        tx.conn.execute(insert(t.releases), release(1))
    site = Site(bureau="示例气象局", url="https://example.org/portal")
    with app.store.read() as conn:
        pages = load_pages(conn, site, now)
        publish(conn, tmp_path / "portal", site, now)
    other = load_settings(tmp_path / "other")
    feed = tmp_path / "portal" / "claimreview.json"
    page = tmp_path / "portal" / "r" / f"{pages[0].slug}.html"
    by_feed, by_page = import_claims(other, [str(feed), str(page)])
    assert (by_feed.added, by_feed.refused) == (1, 0)
    assert (by_page.added, by_page.known) == (0, 1)
    second = build(other)
    (row,) = library(second)
    second.close()
    assert row["claim"] == pages[0].claim
    assert row["verdict"] == pages[0].verdict
    assert row["source_name"] == "示例气象局"
    assert row["source_url"] == site.address_of(pages[0].number)


class _Feed(BaseHTTPRequestHandler):
    robots = b""

    def do_GET(self) -> None:
        body = self.robots
        if self.path != "/robots.txt":
            body = json.dumps({"dataFeedElement": [{"item": review(claimReviewed=CLAIM)}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.mark.parametrize("allowed", [True, False])
def test_an_address_is_fetched_as_robots_allow(settings: Settings, app: App, allowed: bool) -> None:
    rules = b"" if allowed else b"User-agent: *\nDisallow: /claims"
    handler = type("Feed", (_Feed,), {"robots": rules})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/claims.json"
        (result,) = import_claims(settings, [address])
    finally:
        server.shutdown()
        server.server_close()
    assert result.added == (1 if allowed else 0)
    assert ("robots" in result.problem) is not allowed
    assert len(library(app)) == result.added


def test_a_running_annotator_takes_up_what_changes(app: App) -> None:
    seconds = [0.0]
    annotator = CurrentAnnotator(app, seconds=lambda: seconds[0])
    text = f"刚听说{CLAIM}，大家快转"

    def found(later: bool = True) -> list[str]:
        seconds[0] += LOOK_EVERY_S + 1 if later else 0
        (annotation,) = annotator.annotate([text], published=[app.now()])
        return [match.id for match in annotation.claims]

    assert found() == []
    with app.store.begin(app.now()) as tx:
        claim_id = claims.add_claim(
            tx, DUTY, claim=CLAIM, verdict="失实", correction="大坝完好", source_name="示例局",
            review_at=app.now() + timedelta(days=1),
        )  # fmt: skip
    assert found(later=False) == []
    assert found() == [claim_id]
    for days, still in ((1, [claim_id]), (31, [])):  # its day of review passes
        with app.store.begin(app.now()) as tx:
            tx.conn.execute(update(t.claims).values(review_at=app.now() - timedelta(days=days)))
        assert found() == still
    with app.store.begin(app.now()) as tx:
        claims.renew_claim(tx, DUTY, claim_id, app.now() + timedelta(days=30))
    assert found() == [claim_id]
    with app.store.begin(app.now()) as tx:
        claims.retire_claim(tx, DUTY, claim_id, "已过时")
    assert found() == []


def seed(app: App, copies: int = 1) -> None:
    from nlp.claims import load_library

    with app.store.begin(app.now()) as tx:
        claims.seed_library(tx, load_library())
        for n in range(1, copies):
            rows = [
                {"id": f"X{n}-{c.id}", "claim": f"第{n}版：{c.claim}", "verdict": "失实",
                 "origin": "own", "created_at": app.now(), "created_by": "test"}
                for c in load_library()
            ]  # fmt: skip
            tx.conn.execute(insert(t.claims), rows)


def test_calibration_is_kept_with_its_figures_and_taken_up(settings: Settings, app: App) -> None:
    seed(app)
    report = calibrate_claims(settings, [DATA / "place_posts.jsonl", DATA / "claim_posts.jsonl"])
    assert report["false_per_200"] <= 1
    assert report["confirm_precision"] >= 0.98
    assert report["first_right"] >= 0.75
    kept = claim_thresholds.load(settings)
    assert kept.claims == report["claims"]
    assert kept.thresholds.suggest == report["suggest"]
    strict = CurrentAnnotator(app)
    (before,) = strict.annotate(["平乐那个新田水库好像塌方了"], published=[datetime.now(UTC)])
    body = json.loads(claim_thresholds.path_of(settings).read_text(encoding="utf-8"))
    claim_thresholds.path_of(settings).write_text(json.dumps(body | {"suggest": 1, "confirm": 1}))
    (after,) = CurrentAnnotator(app).annotate(["平乐那个新田水库好像塌方了"])
    assert before.claims
    assert not after.claims


def test_calibration_wants_both_kinds_of_posts(settings: Settings, app: App) -> None:
    seed(app)
    with pytest.raises(SettingsError, match="no repeats"):
        calibrate_claims(settings, [DATA / "place_posts.jsonl"])
    with pytest.raises(SettingsError, match="no ordinary posts"):
        calibrate_claims(settings, [DATA / "claim_posts.jsonl"])


def test_the_doctor_says_when_claims_have_doubled(settings: Settings, app: App) -> None:
    seed(app)
    assert _claims(settings) is None
    with app.store.begin(app.now()) as tx:
        tx.conn.execute(update(t.claims).values(active=False))
    seed(app, copies=4)
    problem = _claims(settings)
    assert problem is not None
    assert "calibrate" in problem
    claim_thresholds.path_of(settings).write_text('{"suggest": 0.5}')
    with pytest.raises(SettingsError, match="calibrate"):
        _claims(settings)
