"""ClaimReview feeds: what others have looked into, as JSON-LD in a file or inside a page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time
from typing import Any, ClassVar

from parsel import Selector
from scrapy.http import Response, TextResponse

from crawlers.source_spider import SourceSpider
from pipeline.domain.claim_review import BadReview, ReviewedClaim, read_claim_reviews


def read_document(body: str) -> Iterator[ReviewedClaim | BadReview]:
    """Every ClaimReview of a JSON document or of the JSON-LD blocks of a page.

    Blocks of a page that speak of other things (the site, its breadcrumbs) are passed over.
    """
    start = body.lstrip("\ufeff \t\r\n")
    if start[:1] in ("{", "["):
        yield from read_claim_reviews(start)
        return
    blocks = Selector(text=body).css('script[type="application/ld+json"]::text').getall()
    relevant = [block for block in blocks if "ClaimReview" in block]
    if not relevant:
        yield BadReview(1, "the page holds no ClaimReview (JSON-LD)", body[:2000].encode())
    for block in relevant:
        yield from read_claim_reviews(block)


class ClaimReviewSpider(SourceSpider):
    """Reads one feed or page; what was read before and has not changed is not handed on again."""

    name: ClassVar[str] = "claimreview"  # type: ignore[misc]

    def read_first(self, response: Response) -> Iterator[Any]:
        if not isinstance(response, TextResponse):
            text = response.body.decode("utf-8", "replace")
        else:
            text = response.text
        for found in read_document(text):
            self.report.entries += 1
            if isinstance(found, BadReview):
                yield from self.broken(found.raw, f"核查条目不可用：{found.reason}")
                continue
            if self.memory.is_new(f"c:{found.id}", f"{found.verdict}\x00{found.correction}"):
                self.note(self._published(found))
                yield found

    def _published(self, found: ReviewedClaim) -> datetime:
        if not found.day:
            return self.now()
        return datetime.combine(datetime.fromisoformat(found.day).date(), time(), UTC)
