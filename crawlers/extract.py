"""The body and the facts of an article page without a selector: the measured fallback.

readability-lxml finds the body best on Chinese pages, trafilatura the title and date; its date
has no clock time, so a by-line with one is preferred.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import trafilatura
from lxml import etree
from readability import Document

from crawlers.clean import html_to_text
from crawlers.times import ParsedTime, find_time, parse_time

SHORTEST = 10  # characters of a body that counts as found


@dataclass(frozen=True, slots=True)
class Article:
    """What could be found; empty where nothing was. ``when`` is within the page's own words."""

    title: str
    body: str
    author: str
    raw_time: str
    when: ParsedTime | None


def extract_article(page: str, url: str, fetched_at: datetime) -> Article:
    """The article on an HTML page. Never raises for any page."""
    body = title = ""
    try:
        document = Document(page, url=url)
        body = html_to_text(document.summary(html_partial=True))
        title = html_to_text(document.short_title())
    except (etree.LxmlError, ValueError, TypeError, KeyError, AttributeError):
        pass  # readability gives up on pages without any body: the next one may still find it
    if len(body) < SHORTEST:
        body = trafilatura.extract(page, url=url, include_comments=False) or body
    facts = trafilatura.extract_metadata(page, default_url=url)
    author, day = "", ""
    if facts is not None:
        title = facts.title or title
        author, day = _name(facts.author or ""), facts.date or ""
    found = find_time(html_to_text(page)[:4000], fetched_at)
    if found is not None and found[1].precision != "day":
        return Article(title, body, author, found[0], found[1])
    when = parse_time(day, fetched_at) if day else None
    return Article(title, body, author, day, when)


def _name(found: str) -> str:
    """An author only when it looks like one: guesses from forms and scripts come as lists."""
    return found if len(found) <= 16 and ";" not in found else ""
