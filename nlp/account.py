"""What an account says about a claim in its post: the first half of the second tier.

The same sentence weighs differently from an unknown account and from a newspaper. A logistic
regression on the CED posts, beside the logit of the rumour head, gives the weight of what is known
about the account (training writes it into the model's card). Only the ``rumour`` head moves, only
between *unverified* and the rest, by a bounded step; urgency never does.

Followers are orders of magnitude, as posts keep them: 0, 10, 100, ...
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlp.types import RUMOURS

FEATURES = ("verified", "government", "media", "organisation", "followers")
LIMIT = 1.5  # logits: at most that much, whoever speaks
UNVERIFIED = RUMOURS.index("unverified")


@dataclass(frozen=True, slots=True)
class Account:
    """``kind``: person, organisation, media or government. ``followers``: order of magnitude,
    -1 when unknown."""

    kind: str = "person"
    verified: bool = False
    followers: int = -1

    @property
    def known(self) -> bool:
        """Whether the source said anything at all; a person without followers may be a gap."""
        return self.verified or self.followers >= 0 or self.kind != "person"


def features(account: Account) -> list[float]:
    """In the order of ``FEATURES``; followers as powers of ten."""
    return [
        float(account.verified),
        float(account.kind == "government"),
        float(account.kind == "media"),
        float(account.kind == "organisation"),
        float(math.floor(math.log10(account.followers))) if account.followers > 0 else 0.0,
    ]


def shift(account: Account, weights: Mapping[str, Any]) -> float:
    """Logits to add to *unverified*. ``weights``: ``card["account"]``: ``weight``, ``mean``."""
    if not account.known:
        return 0.0
    moved: float = sum(
        weight * (value - mean)
        for value, weight, mean in zip(
            features(account), weights["weight"], weights["mean"], strict=True
        )
    )
    return max(-LIMIT, min(LIMIT, moved))


def moved(rumour: Sequence[float], logits: float) -> NDArray[np.float64]:
    """Probabilities of the rumour head after ``logits`` were added to *unverified*."""
    scaled = np.asarray(rumour, float)
    scaled[UNVERIFIED] *= math.exp(logits)
    return np.asarray(scaled / scaled.sum())


def words_for(account: Account) -> str:
    """The account in a few Chinese words, as a reason on the screen."""
    kinds = {"government": "政务账号", "media": "媒体账号", "organisation": "机构账号"}
    kind = kinds.get(account.kind, "认证个人" if account.verified else "个人账号")
    if account.followers < 0:
        return kind
    if account.followers >= 10_000:
        return f"{kind}，粉丝{account.followers // 10_000}万级"
    return f"{kind}，粉丝{max(account.followers, 1)}级"
