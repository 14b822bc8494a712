"""What an account says about a claim in its post: the first half of the second tier.

The same sentence weighs differently from an unknown account and from a newspaper. A logistic
regression on the CED posts, beside what their text says, gives the weight of what is known about
the account (training writes it into the model's card). Only the ``rumour`` head moves, only
between *unverified* and the rest, by a bounded step; urgency never does.

An ordinary account (a person without a badge, under 10,000 followers) is where weights are counted
from and moves nothing: most posts come from such accounts, and if they all weighed towards
*unverified*, as they do against CED's mean account, the posts flagged would double.

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

FEATURES = ("verified_person", "government_or_media", "organisation", "followers")
LIMIT = 1.5  # logits: at most that much, whoever speaks
ORDINARY = 3  # power of ten: in CED, rumours are as frequent below as at it, and rarer above
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

    @property
    def responsible(self) -> bool:
        """Whether a name stands for what is said: a bureau, an office, a newspaper."""
        return self.kind in ("government", "media")


def features(account: Account) -> list[float]:
    """In the order of ``FEATURES``; followers as powers of ten above ``ORDINARY``."""
    power = math.floor(math.log10(account.followers)) if account.followers > 0 else 0
    return [
        float(account.verified and account.kind == "person"),
        float(account.responsible),
        float(account.kind == "organisation"),
        float(max(power - ORDINARY, 0)),
    ]


def shift(account: Account, weights: Mapping[str, Any]) -> float:
    """Logits to add to *unverified*; 0 for an ordinary or unknown account. ``weights``:
    ``card["account"]``; 0 too when it names other features (a card of another version)."""
    if not account.known or list(weights["features"]) != list(FEATURES):
        return 0.0
    total: float = sum(
        weight * value for value, weight in zip(features(account), weights["weight"], strict=True)
    )
    return max(-LIMIT, min(LIMIT, total))


def moved(rumour: Sequence[float], logits: float) -> NDArray[np.float64]:
    """Probabilities of the rumour head after ``logits`` were added to *unverified*."""
    scaled = np.asarray(rumour, float)
    scaled[UNVERIFIED] *= math.exp(logits)
    return np.asarray(scaled / scaled.sum())


def least_shift(rumour: Sequence[float]) -> float:
    """Down to where *unverified* stays the likeliest label, if it is; logits, <= 0."""
    given = np.asarray(rumour, float)
    others = np.delete(given, UNVERIFIED).max()
    if given[UNVERIFIED] <= others:
        return -math.inf
    return min(0.0, math.log((others + 1e-3) / given[UNVERIFIED]))


def words_for(account: Account) -> str:
    """The account in a few Chinese words, as a reason on the screen."""
    kinds = {"government": "政务账号", "media": "媒体账号", "organisation": "机构账号"}
    kind = kinds.get(account.kind, "认证个人" if account.verified else "个人账号")
    if account.followers < 0:
        return kind
    if account.followers >= 10_000:
        return f"{kind}，粉丝{account.followers // 10_000}万级"
    return f"{kind}，粉丝{max(account.followers, 1)}级"
