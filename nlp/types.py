"""What we can say about one text.

Plain data, no heavy imports, so that every room of the house may speak of an annotation
without loading a model. The labels follow the annotation guide in ``docs/annotation.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["help", "offer", "impact", "service", "official", "talk", "irrelevant"]
Sentiment = Literal["neg", "neu", "pos"]
Rumour = Literal["none", "unverified", "question", "debunk"]
Colour = Literal["blue", "yellow", "orange", "red"]
WarningAction = Literal["issued", "changed", "lifted", "in_force"]

KINDS: tuple[str, ...] = ("help", "offer", "impact", "service", "official", "talk", "irrelevant")
SENTIMENTS: tuple[str, ...] = ("neg", "neu", "pos")
URGENCIES: tuple[str, ...] = ("0", "1", "2", "3")
RUMOURS: tuple[str, ...] = ("none", "unverified", "question", "debunk")
HAZARDS: tuple[str, ...] = (
    "rain",
    "waterlog",
    "flood",
    "typhoon",
    "thunder",
    "hail",
    "wind",
    "heat",
    "cold",
    "snow",
    "fog",
    "haze",
    "sand",
    "drought",
    "geo",
    "other",
)


@dataclass(frozen=True, slots=True)
class Place:
    """A place named in a text.

    ``adcode``: 6-digit division code of the county, city or province, 9 or 12 digits for a town;
    a road, reservoir or landmark carries the code of the division it lies in.
    ``start``, ``end``: character span in the original text; ``-1`` when the place was not in the
    text but came from the account's place. ``why``: why this one of several, in Chinese.
    """

    adcode: str
    name: str
    start: int = -1
    end: int = -1
    level: str = ""
    why: str = ""
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClaimMatch:
    """A known claim that the text may repeat. ``similarity``: 0-1, of the best clause."""

    id: str
    similarity: float
    level: Literal["suggest", "confirm"] = "suggest"
    clause: str = ""
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WarningMention:
    """A weather warning signal spoken of in a text. ``flags``: ``stale``, ``unsourced``."""

    hazard: str
    type_name: str
    colour: Colour | None
    action: WarningAction
    station: str = ""
    time_text: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Annotation:
    """What nlp says about one text. It is a machine's reading, never a verdict.

    ``scores``: head -> label -> calibrated probability, each head sums to 1.
    ``reasons``: head -> the words that weighed most for the chosen label, with signed weights.
    ``unsure``: heads whose best probability is below that head's threshold.
    ``sketch``: 64 unsigned 32-bit MinHash values, hexadecimal (512 characters), empty for a text
    with fewer than 8 content characters. ``exact``: 16 hexadecimal digits, hash of the cleaned
    text. ``tokens``: words for search, separated by single blanks. ``tier``: 2 when a second look
    changed the reading (``nlp.second_tier``), and ``looks`` at what: ``thread``, ``account``,
    ``meaning`` (sentence vectors); ``model`` names the first tier's model, whose card holds the
    account's weights.
    """

    model: str
    relevant: bool
    kind: Kind
    sentiment: Sentiment
    urgency: int
    rumour: Rumour
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    reasons: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    unsure: tuple[str, ...] = ()
    hazards: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    claims: tuple[ClaimMatch, ...] = ()
    warning: WarningMention | None = None
    cues: tuple[str, ...] = ()
    sketch: str = ""
    exact: str = ""
    tokens: str = ""
    tier: int = 1
    looks: tuple[str, ...] = ()
