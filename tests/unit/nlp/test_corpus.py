"""The labelled posts of our own that the models are trained on are valid, varied and distinct."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from nlp.lexicon.divisions import division_name
from nlp.training.labelled import read_files
from nlp.types import HAZARDS, KINDS, RUMOURS, SENTIMENTS

PATH = Path(str(files("nlp.training") / "corpus" / "posts.jsonl"))
NANNING = PATH.with_name("nanning.jsonl")
HARD = PATH.with_name("hard.jsonl")
FIELDS = {"text", "kind", "sentiment", "rumour", "matter", "id", "urgency", "hazards", "places"}
NEAR_COPY = 0.6
LEAST = 40
LEAST_OF = {"question": 120, "debunk": 120, "help": 120, "offer": 80}

_DIGITS = re.compile(r"(?<![\d*])\d{7,}(?![\d*])")
_MASKED = re.compile(r"138\*{4}0000")
_ADDRESS = re.compile(r"https?://|www\.|@[\w.-]+\.\w{2,}|[微V]信号|QQ\s*\d", re.IGNORECASE)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [*rows_of(PATH), *rows_of(NANNING)]


def test_every_row_follows_the_guide(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        where = row["id"]
        assert set(row) - {"note"} == FIELDS, where
        assert row["text"] == row["text"].strip() and row["text"], where
        assert row["kind"] in KINDS, where
        assert row["sentiment"] in SENTIMENTS, where
        assert row["rumour"] in RUMOURS, where
        assert type(row["urgency"]) is int and 0 <= row["urgency"] <= 3, where
        assert set(row["hazards"]) <= set(HAZARDS), where
        assert len(set(row["hazards"])) == len(row["hazards"]), where
        assert row.get("note") is None or row["note"].strip(), where


def test_labels_agree_with_one_another(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["kind"] == "irrelevant":
            assert (row["urgency"], row["hazards"]) == (0, []), row["id"]
        if row["kind"] == "help":
            assert row["urgency"] >= 2, row["id"]
        if row["rumour"] == "unverified" and row["kind"] != "offer":
            assert row["urgency"] >= 1 or row["kind"] == "talk", row["id"]


def test_ids_count_up_and_texts_are_unique(rows: list[dict[str, Any]]) -> None:
    for path, name in ((PATH, "corpus"), (NANNING, "nanning")):
        ids = [row["id"] for row in rows_of(path)]
        assert ids == [f"{name}-{n:04d}" for n in range(1, len(ids) + 1)]
    assert [text for text, n in Counter(row["text"] for row in rows).items() if n > 1] == []


def test_no_class_is_thin(rows: list[dict[str, Any]]) -> None:
    heads: dict[str, tuple[object, ...]] = {
        "kind": KINDS,
        "sentiment": SENTIMENTS,
        "urgency": (0, 1, 2, 3),
        "rumour": RUMOURS,
    }
    for head, labels in heads.items():
        counts = Counter(row[head] for row in rows)
        for label in labels:
            assert counts[label] >= LEAST_OF.get(str(label), LEAST), (head, label)
    assert set(HAZARDS) == {hazard for row in rows for hazard in row["hazards"]}


def test_places_are_named_in_the_text_and_have_a_known_code(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        for place in row["places"]:
            assert set(place) == {"adcode", "name"}, row["id"]
            assert place["name"] in row["text"], (row["id"], place)
            code = place["adcode"]
            assert code == "100000" or division_name(code), (row["id"], place)


def test_phone_numbers_are_masked_and_nobody_can_be_reached(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        text = _MASKED.sub("", row["text"])
        assert not _DIGITS.search(text), row["id"]
        assert not _ADDRESS.search(text), row["id"]


def four_grams(text: str) -> frozenset[str]:
    return frozenset(text[i : i + 4] for i in range(len(text) - 3)) or frozenset([text])


def near_copies(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Pairs of rows of different matters that share most of their four-character runs."""
    grams = [four_grams(row["text"]) for row in rows]
    holders: dict[str, list[int]] = defaultdict(list)
    pairs: list[tuple[str, str]] = []
    for i, own in enumerate(grams):
        shared = Counter(j for gram in own for j in holders[gram])
        for j, both in shared.items():
            alike = both / (len(own) + len(grams[j]) - both)
            if alike >= NEAR_COPY and rows[i]["matter"] != rows[j]["matter"]:
                pairs.append((rows[j]["id"], rows[i]["id"]))
        for gram in own:
            holders[gram].append(i)
    return pairs


def test_no_row_is_a_near_copy_of_another_matter(rows: list[dict[str, Any]]) -> None:
    assert near_copies(rows) == []


def test_near_copies_are_found(rows: list[dict[str, Any]]) -> None:
    longest = max(rows, key=lambda row: len(row["text"]))
    copy = {**longest, "id": "copy", "matter": "another", "text": "转:" + longest["text"]}
    assert near_copies([*rows, copy]) == [(longest["id"], "copy")]


def test_hard_examples_that_judge_a_model_are_not_trained_on(rows: list[dict[str, Any]]) -> None:
    hard = [{**row, "id": row["text"], "matter": "hard"} for row in rows_of(HARD)]
    assert near_copies([*rows, *hard]) == []


def test_the_trainer_reads_the_rows_as_our_own(rows: list[dict[str, Any]]) -> None:
    labelled = read_files([PATH, NANNING], for_training=True)
    assert len(labelled) == len(rows)
    assert all(text.own and text.guide for text in labelled)
