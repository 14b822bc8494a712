"""Take messages, handle them, commit; or wait and try again; or give a message up.

A handler takes a batch and says one of three things: it returns (done), raises ``NotNow`` (the
batch is handled again later, in order), or raises ``Never``. After ``Never``, or an error nobody
foresaw, the batch is cut in halves until the bad message stands alone; that one goes to the dead
letters. Handlers are idempotent, so handling a half twice does no harm.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from nlp.garbage import uncollected
from pipeline.bus.base import Bus, Consumer, DeadLetter, Message
from pipeline.clock import Clock
from pipeline.errors import LostLease, Never, NotNow, StageStopped

log = structlog.get_logger("worker")

Handler = Callable[[list[Message]], None]
Beat = Callable[[int, str], None]

MIN_SEEN = 20  # outcomes before a share of refused messages means anything
LAG_S = 0.5  # between questions to the bus how much waits: each costs it a round trip or two


class Worker:
    """One stage: a group's member with its handler.

    ``batch``: messages per call. ``dead_share_limit``: the stage stops when more than this share
    of the last ``window`` messages was refused. ``first_wait_s`` doubles up to ``longest_wait_s``
    while a handler says not now. ``on_beat``: called with lag and a note (why it waits, or empty)
    at least once per poll; the callee throttles. The lag is up to ``LAG_S`` old.
    """

    def __init__(
        self,
        bus: Bus,
        group: str,
        topics: Sequence[str],
        handler: Handler,
        *,
        stage: str,
        clock: Clock,
        batch: int = 500,
        dead_share_limit: float = 0.2,
        window: int = 500,
        first_wait_s: float = 0.2,
        longest_wait_s: float = 30.0,
        on_beat: Beat | None = None,
    ) -> None:
        self.stage = stage
        self.handled = 0
        self.buried = 0
        self.busy_s = 0.0
        self._bus = bus
        self._group = group
        self._topics = tuple(topics)
        self._handler = handler
        self._clock = clock
        self._batch = batch
        self._limit = dead_share_limit
        self._outcomes: deque[bool] = deque(maxlen=window)  # True: refused
        self._first_wait_s = first_wait_s
        self._longest_wait_s = longest_wait_s
        self._beat = on_beat or (lambda _lag, _note: None)
        self._last_error = ""
        self._lag = 0
        self._lag_at = -LAG_S

    def figures(self) -> dict[str, float]:
        """Since the start: messages ``handled`` and ``buried``, seconds spent in the handler."""
        return {"handled": self.handled, "buried": self.buried, "busy_s": self.busy_s}

    def run(self, stop: threading.Event, *, poll_s: float = 1.0) -> None:
        """Work until ``stop`` is set. Raises: StageStopped when too much is refused."""
        consumer: Consumer | None = None
        wait_s = 0.0
        try:
            while not stop.is_set():
                try:
                    if consumer is None:
                        consumer = self._bus.consumer(self._group, self._topics)
                    self._step(consumer, poll_s)
                    if time.monotonic() - self._lag_at >= LAG_S:
                        self._lag, self._lag_at = consumer.lag(), time.monotonic()
                    self._beat(self._lag, "")
                except LostLease as error:
                    self._say_once(error)
                except NotNow as error:
                    if consumer is not None:
                        consumer.rewind()
                    wait_s = min(self._longest_wait_s, max(self._first_wait_s, wait_s * 2))
                    self._say_once(error, wait_s)
                    self._beat(self._lag, str(error))
                    stop.wait(wait_s)
                else:
                    self._recovered(wait_s)
                    wait_s = 0.0
        finally:
            self._leave(consumer)

    def run_once(self) -> int:
        """Handle all that waits, then return how many messages were handled or buried.

        Raises: NotNow at once (nothing is lost: call again); StageStopped.
        """
        before = self.handled + self.buried
        consumer = self._bus.consumer(self._group, self._topics)
        try:
            while self._step(consumer, 0.0) or consumer.lag():
                pass
        finally:
            self._leave(consumer)
        return self.handled + self.buried - before

    def _step(self, consumer: Consumer, poll_s: float) -> int:
        """One batch. What was handled before a failure is committed, so it is not redone."""
        messages = consumer.poll(self._batch, poll_s)
        if not messages:
            return 0
        done: list[Message] = []
        began = time.monotonic()
        try:
            with uncollected():
                self._handle(messages, done)
        except (NotNow, StageStopped):
            if done:
                consumer.commit(done)
            raise
        finally:
            self.busy_s += time.monotonic() - began
        consumer.commit(done)
        return len(messages)

    def _handle(self, messages: list[Message], done: list[Message]) -> None:
        try:
            self._handler(messages)
        except NotNow:
            raise
        except (OSError, MemoryError) as error:
            raise NotNow(f"{self.stage}: {type(error).__name__}: {error}") from error
        except Exception as error:
            if len(messages) > 1:
                middle = len(messages) // 2
                self._handle(messages[:middle], done)
                self._handle(messages[middle:], done)
                return
            self._bury(messages[0], error)
            done.append(messages[0])
            self._outcomes.append(True)
            self._check_share(error)
            return
        done.extend(messages)
        self.handled += len(messages)
        self._outcomes.extend([False] * len(messages))

    def _bury(self, message: Message, error: Exception) -> None:
        known = isinstance(error, Never)
        self._bus.bury(
            DeadLetter(
                id=0,
                topic=message.topic,
                partition=message.partition,
                offset=message.offset,
                key=message.key,
                value=message.value,
                stage=self.stage,
                error=str(error) if known else f"{type(error).__name__}: {error}",
                tries=1,
                at=self._clock.now(),
            )
        )
        self.buried += 1
        log.warning(
            "message given up",
            stage=self.stage,
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            error=type(error).__name__,
            where=_where(error),  # the text of an unforeseen error may quote a post: not logged
        )

    def _check_share(self, error: Exception) -> None:
        seen, refused = len(self._outcomes), sum(self._outcomes)
        if seen >= MIN_SEEN and refused > self._limit * seen:
            raise StageStopped(
                f"{self.stage}: {refused} of the last {seen} messages were refused (limit"
                f" {self._limit:.0%}), the last one by {type(error).__name__}; look at them with:"
                " tingfeng dead list"
            ) from error

    def _say_once(self, error: NotNow, wait_s: float = 0.0) -> None:
        """Log a failure only when it differs from the last one."""
        text = f"{type(error).__name__}: {error}"
        if text != self._last_error:
            self._last_error = text
            log.warning("not now", stage=self.stage, error=text, wait_s=round(wait_s, 1))

    def _recovered(self, waited_s: float) -> None:
        if waited_s:
            log.info("goes on", stage=self.stage)
            self._last_error = ""

    def _leave(self, consumer: Consumer | None) -> None:
        if consumer is None:
            return
        try:
            consumer.close()
        except NotNow:
            log.warning("left without saying so; the lease ends by itself", stage=self.stage)


def _where(error: BaseException) -> str:
    """File and line where an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
