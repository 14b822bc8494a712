"""The public pages, written from real rows and read by validators."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import feedparser
import jsonschema
import pytest
from lxml import etree, html
from sqlalchemy import insert, update

from pipeline.portal.site import Site, canonical, publish, slug_of
from pipeline.store import tables as t
from pipeline.store.sql import Store
from tests.stores import open_store

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
SITE = Site(bureau="南宁市气象局", url="https://example.org/portal")
EVIL = "大王滩水库今晚泄洪</script><script>alert(1)</script>"

# RFC 4287, the elements that a reader depends on
ATOM_RNG = """<grammar xmlns="http://relaxng.org/ns/structure/1.0" ns="http://www.w3.org/2005/Atom"
 datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes"><start><element name="feed">
 <interleave><element name="id"><data type="anyURI"/></element>
 <element name="title"><text/></element>
 <element name="updated"><data type="dateTime"/></element>
 <oneOrMore><ref name="link"/></oneOrMore>
 <element name="author"><element name="name"><text/></element></element>
 <zeroOrMore><element name="entry"><interleave>
  <element name="id"><data type="anyURI"/></element><element name="title"><text/></element>
  <element name="updated"><data type="dateTime"/></element>
  <element name="published"><data type="dateTime"/></element>
  <ref name="link"/>
  <element name="category"><attribute name="term"/><attribute name="label"/></element>
  <element name="summary"><attribute name="type"><value>text</value></attribute><text/></element>
 </interleave></element></zeroOrMore></interleave></element></start>
 <define name="link"><element name="link"><attribute name="rel"/><attribute name="type"/>
  <attribute name="href"><data type="anyURI"/></attribute></element></define></grammar>"""

CLAIM_REVIEW = {
    "type": "object",
    "required": ["@context", "@type", "url", "claimReviewed", "author", "reviewRating"],
    "properties": {
        "@context": {"const": "https://schema.org"},
        "@type": {"const": "ClaimReview"},
        "url": {"type": "string", "format": "uri", "pattern": "^https?://"},
        "datePublished": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT"},
        "claimReviewed": {"type": "string", "minLength": 1},
        "author": {"type": "object", "required": ["@type", "name"]},
        "reviewRating": {
            "type": "object",
            "required": ["@type", "alternateName"],
            "properties": {"ratingValue": {"type": "number", "minimum": 1, "maximum": 5}},
        },
    },
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(tmp_path / "desk.db")
    store.create()
    with store.begin(NOW) as tx:
        tx.conn.execute(insert(t.cases), CASE)
        tx.conn.execute(insert(t.clarifications), CLARIFICATION)
    return store


CASE: dict[str, Any] = {
    "id": 1, "number": "南气舆〔2026〕0001号", "title": "x", "status": "handling", "owner": "duty",
    "lead_office": "气象台", "helper_offices": [], "copy_offices": [], "frozen_rules": {},
    "opened_at": NOW,
}  # fmt: skip
CLARIFICATION: dict[str, Any] = {
    "id": 1, "case_id": 1, "title": "x", "claim": "x", "verdict": "失实", "evidence": [],
    "channels": [], "status": "released", "author": "duty", "author_id": 1, "created_at": NOW,
    "updated_at": NOW,
}  # fmt: skip


def release(n: int, kind: str = "release", of: int | None = None, **content: Any) -> dict[str, Any]:
    body = {
        "title": "关于“大王滩水库泄洪”的情况说明",
        "claim": EVIL,
        "verdict": "失实",
        "facts": "水库未开闸。\n当前水位正常。",
        "measures": "加密监测",
        "results": "",
        "evidence": [
            {"title": "实况", "text": "1 小时雨量 32.1 毫米", "station": "南宁站",
             "at": NOW.isoformat()}
        ],
        "valid_until": (NOW + timedelta(days=1)).isoformat(),
        **content,
    }  # fmt: skip
    return {
        "id": n, "number": f"南气辟〔2026〕{n:04d}号", "clarification_id": 1, "case_id": 1,
        "kind": kind, "of_release": of, "reason": "数字有误" if of else "", "content": body,
        "sha256": hashlib.sha256(canonical(body)).hexdigest(), "signer": "signer",
        "released_by": "duty", "released_at": NOW + timedelta(minutes=n),
    }  # fmt: skip


def put(store: Store, *rows: dict[str, Any]) -> None:
    with store.begin(NOW) as tx:
        tx.conn.execute(insert(t.releases), list(rows))


def write(store: Store, out: Path, now: datetime = NOW) -> int:
    with store.read() as conn:
        return publish(conn, out, SITE, now)


def test_empty_portal_says_so_in_a_sentence(store: Store, tmp_path: Path) -> None:
    write(store, tmp_path / "p")
    page = (tmp_path / "p" / "index.html").read_text("utf-8")
    assert "目前没有发布" in page
    assert feedparser.parse((tmp_path / "p" / "feed.atom").read_bytes()).bozo == 0


def test_rumour_text_never_becomes_markup(store: Store, tmp_path: Path) -> None:
    put(store, release(1))
    write(store, tmp_path / "p")
    page = (tmp_path / "p" / "r" / "2026-0001.html").read_text("utf-8")
    tree = html.fromstring(page)
    scripts = tree.xpath("//script")
    assert [s.get("type") for s in scripts] == ["application/ld+json"]
    assert json.loads(scripts[0].text)["claimReviewed"] == EVIL
    assert EVIL in tree.text_content()


def test_feed_and_claim_review_are_valid(store: Store, tmp_path: Path) -> None:
    put(store, release(1), release(2, "correction", 1), release(3, "withdrawal", 2))
    write(store, tmp_path / "p")
    feed = (tmp_path / "p" / "feed.atom").read_bytes()
    etree.RelaxNG(etree.fromstring(ATOM_RNG)).assertValid(etree.fromstring(feed))
    parsed = feedparser.parse(feed)
    assert parsed.bozo == 0
    assert [e.link.rsplit("/", 1)[1] for e in parsed.entries] == [
        "2026-0003.html", "2026-0002.html", "2026-0001.html",
    ]  # fmt: skip
    for review in json.loads((tmp_path / "p" / "claimreview.json").read_text("utf-8")):
        jsonschema.validate(review, CLAIM_REVIEW)


def test_corrections_and_withdrawals_are_shown_on_the_old_page(
    store: Store, tmp_path: Path
) -> None:
    put(store, release(1), release(2, "correction", 1), release(3, "withdrawal", 2))
    write(store, tmp_path / "p")
    read = lambda n: (tmp_path / "p" / "r" / f"2026-{n:04d}.html").read_text("utf-8")  # noqa: E731
    assert "已更正" in read(1) and "2026-0002.html" in read(1)
    assert "已撤回" in read(2) and "数字有误" in read(2)
    assert "撤回" in read(3)


def test_the_archive_proves_the_fingerprint(store: Store, tmp_path: Path) -> None:
    put(store, release(1))
    write(store, tmp_path / "p")
    body = (tmp_path / "p" / "r" / "2026-0001.json").read_bytes()
    page = (tmp_path / "p" / "r" / "2026-0001.html").read_text("utf-8")
    assert hashlib.sha256(body).hexdigest() in page


def test_csv_reads_back_and_cannot_run_formulas(store: Store, tmp_path: Path) -> None:
    put(store, release(1, title="=1+1"))
    write(store, tmp_path / "p")
    text = (tmp_path / "p" / "releases.csv").read_text("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[0]["标题"] == "'=1+1"
    assert rows[0]["网传内容"] == EVIL


def test_a_second_writing_changes_nothing_and_expiry_shows(store: Store, tmp_path: Path) -> None:
    put(store, release(1))
    assert write(store, tmp_path / "p") > 0
    assert write(store, tmp_path / "p") == 0
    write(store, tmp_path / "p", NOW + timedelta(days=2))
    assert "已过有效期" in (tmp_path / "p" / "index.html").read_text("utf-8")


def test_a_page_names_station_and_time_of_its_evidence(store: Store, tmp_path: Path) -> None:
    put(store, release(1))
    with store.begin(NOW) as tx:
        tx.conn.execute(update(t.cases).values(title="y"))
    write(store, tmp_path / "p")
    page = (tmp_path / "p" / "r" / "2026-0001.html").read_text("utf-8")
    assert "南宁站" in page and "22时00分" in page


def test_slugs() -> None:
    assert slug_of("南气辟〔2026〕0007号") == "2026-0007"
