"""The public portal: static pages of every release, an Atom feed, ClaimReview, a CSV.

Pages are made anew from the releases table, so they can be thrown away and written again; a
file is replaced whole, so a reader never sees half a page. Nothing is deleted: a corrected or
withdrawn release keeps its page and says what became of it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from lxml import etree
from markupsafe import Markup
from sqlalchemy import Connection, select

from pipeline.clock import BEIJING
from pipeline.store import tables as t

ATOM = "http://www.w3.org/2005/Atom"
PARTS = (("facts", "事实真相"), ("measures", "政策措施"), ("results", "处置结果"))
KIND_TEXT = {"release": "发布", "correction": "更正", "withdrawal": "撤回"}
# schema.org wants a number: 1 = false ... 5 = true; the word stands beside it
RATING = {"失实": 1, "部分属实": 3, "属实": 5}

_env = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Site:
    """What every page says. ``url``: public address of the portal, without a slash at the end."""

    bureau: str
    url: str
    is_drill: bool = False

    @property
    def title(self) -> str:
        return "气象澄清与回应"

    def address_of(self, number: str) -> str:
        """Public address of a release by its number."""
        return f"{self.url}/r/{slug_of(number)}.html"


@dataclass(slots=True)
class Page:
    """One release as the public sees it."""

    id: int
    number: str
    slug: str
    kind: str
    title: str
    claim: str
    verdict: str
    parts: list[tuple[str, list[str]]]
    evidence: list[dict[str, str]]
    at: datetime
    sha256: str
    content: dict[str, Any]
    reason: str = ""
    valid_until: str = ""
    of_id: int | None = None
    of: Page | None = None
    later: Page | None = None
    state: str = "current"
    state_text: str = ""
    json_ld: Markup = field(default_factory=lambda: Markup(""))

    @property
    def at_iso(self) -> str:
        return self.at.astimezone(BEIJING).isoformat(timespec="seconds")

    @property
    def at_text(self) -> str:
        return beijing_text(self.at)

    @property
    def stands(self) -> bool:
        """Whether its verdict still holds: not withdrawn, corrected, nor itself a withdrawal."""
        return self.kind != "withdrawal" and self.state in ("current", "expired")

    @property
    def kind_text(self) -> str:
        return KIND_TEXT[self.kind]


def beijing_text(at: datetime) -> str:
    """As 2026年11月24日14时02分 (Beijing time)."""
    b = at.astimezone(BEIJING)
    return f"{b.year}年{b.month}月{b.day}日{b.hour:02d}时{b.minute:02d}分"


def slug_of(number: str) -> str:
    """File name of a release: the digits of its number, as 2026-0007."""
    digits = re.findall(r"\d+", number)
    return "-".join(digits) if digits else re.sub(r"\W+", "-", number)


def load_pages(conn: Connection, site: Site, now: datetime) -> list[Page]:
    """Every release, newest first, each knowing what it replaces and what replaced it."""
    rows = conn.execute(select(t.releases).order_by(t.releases.c.id)).mappings().all()
    pages = [_page(dict(row)) for row in rows]
    by_id = {p.id: p for p in pages}
    for page in pages:
        if page.of_id is not None and page.of_id in by_id:
            old = by_id[page.of_id]
            page.of, old.later = old, page
            if page.kind == "withdrawal":
                old.state, old.state_text = "withdrawn", "已撤回"
            else:
                old.state, old.state_text = "corrected", "已更正"
    for page in pages:
        until = page.content.get("valid_until")
        if page.state == "current" and until and datetime.fromisoformat(until) <= now:
            page.state, page.state_text = "expired", "已过有效期"
        page.json_ld = Markup(_json_ld_text(page, site))  # noqa: S704  escaped just there
    return pages[::-1]


def _page(row: dict[str, Any]) -> Page:
    content: dict[str, Any] = row["content"]
    parts = [
        (heading, [line for line in str(content.get(key) or "").splitlines() if line.strip()])
        for key, heading in PARTS
    ]
    until = content.get("valid_until")
    return Page(
        id=row["id"],
        number=row["number"],
        slug=slug_of(row["number"]),
        kind=row["kind"],
        title=str(content.get("title", "")),
        claim=str(content.get("claim", "")),
        verdict=str(content.get("verdict", "")),
        parts=[(h, lines) for h, lines in parts if lines],
        evidence=[_evidence(e) for e in content.get("evidence") or []],
        at=row["released_at"],
        sha256=row["sha256"],
        content=content,
        reason=row["reason"],
        valid_until=beijing_text(datetime.fromisoformat(until)) if until else "",
        of_id=row["of_release"],
    )


def _evidence(item: dict[str, Any]) -> dict[str, str]:
    at = item.get("at")
    return {
        "title": str(item.get("title") or ""),
        "text": str(item.get("text") or ""),
        "station": str(item.get("station") or ""),
        "at_text": beijing_text(datetime.fromisoformat(at)) if at else "",
    }


def claim_review(page: Page, site: Site) -> dict[str, Any]:
    """schema.org ClaimReview of one release."""
    rating: dict[str, Any] = {"@type": "Rating", "alternateName": page.verdict}
    if page.verdict in RATING:
        rating |= {"ratingValue": RATING[page.verdict], "worstRating": 1, "bestRating": 5}
    return {
        "@context": "https://schema.org",
        "@type": "ClaimReview",
        "url": site.address_of(page.number),
        "datePublished": page.at_iso,
        "inLanguage": "zh-CN",
        "claimReviewed": page.claim,
        "author": {"@type": "GovernmentOrganization", "name": site.bureau, "url": site.url},
        "itemReviewed": {"@type": "Claim", "name": page.claim},
        "reviewBody": " ".join(page.parts[0][1]) if page.parts else page.title,
        "reviewRating": rating,
        "identifier": page.number,
    }


def _json_ld_text(page: Page, site: Site) -> str:
    text = json.dumps(claim_review(page, site), ensure_ascii=False, indent=1)
    # inside <script> only these can end or open markup
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def atom(pages: Sequence[Page], site: Site) -> bytes:
    """The Atom feed (RFC 4287) of the newest 50 releases."""
    feed = etree.Element(f"{{{ATOM}}}feed", nsmap={None: ATOM})

    def add(parent: Any, tag: str, text: str = "", **attributes: str) -> Any:
        node = etree.SubElement(parent, f"{{{ATOM}}}{tag}", attributes)
        node.text = _xml_text(text) if text else None
        return node

    add(feed, "id", f"{site.url}/")
    add(feed, "title", f"{site.bureau}{site.title}")
    newest = max((p.at for p in pages), default=datetime(2026, 1, 1, tzinfo=UTC))
    add(feed, "updated", newest.isoformat(timespec="seconds"))
    add(feed, "link", rel="self", type="application/atom+xml", href=f"{site.url}/feed.atom")
    add(feed, "link", rel="alternate", type="text/html", href=f"{site.url}/index.html")
    add(add(feed, "author"), "name", site.bureau)
    for page in pages[:50]:
        entry = add(feed, "entry")
        address = site.address_of(page.number)
        add(entry, "id", address)
        add(entry, "title", f"【{page.verdict}】{page.title}")
        add(entry, "updated", page.at.astimezone(UTC).isoformat(timespec="seconds"))
        add(entry, "published", page.at.astimezone(UTC).isoformat(timespec="seconds"))
        add(entry, "link", rel="alternate", type="text/html", href=address)
        add(entry, "category", term=page.kind, label=page.kind_text)
        lines = [f"网传：{page.claim}", f"结论：{page.verdict}"]
        lines += [f"{heading}：{' '.join(text)}" for heading, text in page.parts]
        add(entry, "summary", "\n".join(lines), type="text")
    out: bytes = etree.tostring(feed, xml_declaration=True, encoding="utf-8", pretty_print=True)
    return out


def _xml_text(text: str) -> str:
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text)


def csv_bytes(pages: Sequence[Page], site: Site) -> bytes:
    """All releases as CSV, UTF-8 with BOM so that spreadsheets read the Chinese.

    A cell that a spreadsheet would run as a formula is quoted with an apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ["编号", "种类", "状态", "发布时间", "标题", "网传内容", "结论", "事实真相", "政策措施",
         "处置结果", "原发布编号", "SHA-256", "链接"]
    )  # fmt: skip
    for page in pages:
        text = {heading: " ".join(lines) for heading, lines in page.parts}
        row = [
            page.number,
            page.kind_text,
            page.state_text or "有效",
            page.at_iso,
            page.title,
            page.claim,
            page.verdict,
            *(text.get(heading, "") for _, heading in PARTS),
            page.of.number if page.of else "",
            page.sha256,
            site.address_of(page.number),
        ]
        writer.writerow([f"'{c}" if c[:1] in "=+-@\t\r" else c for c in row])
    return out.getvalue().encode("utf-8-sig")


def publish(conn: Connection, out: Path, site: Site, now: datetime) -> int:
    """Write the whole portal; returns how many files changed. Idempotent."""
    pages = load_pages(conn, site, now)
    files: dict[str, bytes] = {
        "portal.css": (Path(__file__).parent / "templates" / "portal.css").read_bytes(),
        "index.html": _render("index.html", site, "", items=pages),
        "feed.atom": atom(pages, site),
        "releases.csv": csv_bytes(pages, site),
        "claimreview.json": json.dumps(
            [claim_review(p, site) for p in pages if p.stands], ensure_ascii=False, indent=1
        ).encode(),
    }
    for page in pages:
        files[f"r/{page.slug}.html"] = _render("release.html", site, "../", r=page)
        files[f"r/{page.slug}.json"] = canonical(page.content)
    return sum(_write(out / name, body) for name, body in files.items())


def canonical(content: dict[str, Any]) -> bytes:
    """The bytes whose SHA-256 a release carries."""
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _render(template: str, site: Site, root: str, **values: Any) -> bytes:
    return _env.get_template(template).render(site=site, root=root, **values).encode()


def _write(path: Path, body: bytes) -> bool:
    if path.exists() and path.read_bytes() == body:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_bytes(body)
    new.replace(path)
    return True
