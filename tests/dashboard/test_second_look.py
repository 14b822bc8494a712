"""What the second tier did stands on the post, in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from dashboard import widgets
from tests.flow.annotated import START, night

NOW = START + timedelta(hours=7)


def test_a_post_says_what_was_looked_at_again() -> None:
    item = night(1, 3)[0]
    assert "复核" not in str(widgets.post_card(item, NOW))
    reasons = {"rumour": [("听说", 0.4), ("<b>媒体账号</b>", -0.9)]}
    looked = replace(item.annotation, tier=2, looks=("thread", "account"), reasons=reasons)
    card = str(widgets.post_card(replace(item, annotation=looked), NOW))
    assert "复核：所回复的帖文、账号（&lt;b&gt;媒体账号&lt;/b&gt;，传言可能调低）" in card
    assert "<b>媒体账号" not in card
