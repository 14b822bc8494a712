"""What every bus promises when several processes are at it and some of them are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable

from pipeline.bus.topics import POSTS_RAW
from tests.contract.bus_rig import LIMIT_S, RAW, Rig, numbers, records

_PUBLISHER = """
from pipeline.bus.base import Record
i = 0
while True:
    batch = [Record(f"k{n % 5}", b"%d" % n) for n in range(i, i + 20)]
    bus.publish("posts.raw", batch)
    i += 20
    print(i, flush=True)
"""

_CONSUMER = """
consumer = bus.consumer("g", ["posts.raw"])
while True:
    batch = consumer.poll(20, 1.0)
    for m in batch:
        print(int(m.value), flush=True)
    consumer.commit(batch)
"""


_WORKER = """
consumer = bus.consumer("g", ["posts.raw"])
while True:
    batch = consumer.poll(20, 0.5)
    for m in batch:  # each line in one write, so that no half line is left by a kill
        print(f"{m.partition} {int(m.value)}\\n", end="", flush=True)
    consumer.commit(batch)
"""


class Worker:
    """A process that consumes and commits for ever. ``done``: (partition, number) in order."""

    def __init__(self, rig: Rig) -> None:
        self.done: list[tuple[int, int]] = []
        self._process = _start(rig, _WORKER)
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def partitions(self, since: int = 0) -> set[int]:
        return {partition for partition, _ in self.done[since:]}

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._listener.join()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                partition, number = line.split()
                self.done.append((int(partition), int(number)))


def _start(rig: Rig, script: str) -> subprocess.Popen[str]:
    program = textwrap.dedent(rig.script) + script
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def test_a_killed_publisher_loses_nothing_it_was_told_is_durable(rig: Rig) -> None:
    process = _start(rig, _PUBLISHER)
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(15)]
    process.send_signal(signal.SIGKILL)
    told += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    acknowledged = int(told[-1].strip() or told[-2])
    kept = numbers(list(rig.make().read(RAW)))
    assert set(kept) >= set(range(acknowledged))
    assert len(kept) == len(set(kept)), "nothing twice"
    if rig.has_one_order:
        assert kept == list(range(len(kept))), "no gap"
        assert len(kept) % 20 == 0, "no half batch"


def test_a_killed_consumer_process_is_replaced(rig: Rig) -> None:
    bus = rig.make(**({"ticks": time.monotonic} if rig.has_one_order else {}))
    bus.publish(RAW, records(200))
    process = _start(rig, _CONSUMER)
    assert process.stdout is not None
    seen = {int(process.stdout.readline()) for _ in range(50)}
    process.send_signal(signal.SIGKILL)
    seen |= {int(line) for line in process.stdout.readlines() if line.endswith("\n")}
    process.wait()
    process.stdout.close()
    bus.publish(RAW, records(100, start=200))
    consumer = bus.consumer("g", [RAW])
    until = time.monotonic() + LIMIT_S
    while bus.lag("g", [RAW]) and time.monotonic() < until:
        batch = consumer.poll(500, 0.2)
        seen |= set(numbers(batch))
        consumer.commit(batch)
    assert seen == set(range(300))


def test_two_processes_share_a_group_and_one_takes_over_when_the_other_is_killed(rig: Rig) -> None:
    bus = rig.make()
    published = 0

    def publish(count: int) -> None:
        nonlocal published
        bus.publish(RAW, records(count, keys=40, start=published))
        published += count

    def wait_for(test: Callable[[], bool]) -> None:
        until = time.monotonic() + LIMIT_S
        while not test():
            assert time.monotonic() < until
            time.sleep(0.02)

    a, b = workers = [Worker(rig), Worker(rig)]
    try:
        while not (a.done and b.done):
            publish(20)
            time.sleep(0.02)
        wait_for(lambda: len(a.done) + len(b.done) >= published)
        calm = len(a.done), len(b.done)
        publish(400)
        wait_for(lambda: len(a.done) + len(b.done) >= published)
        everything = [number for worker in workers for _, number in worker.done]
        assert sorted(everything) == list(range(published)), "each message once"
        of_a, of_b = a.partitions(calm[0]), b.partitions(calm[1])
        assert of_a and of_b and not of_a & of_b, "each partition belongs to one of them"
        assert of_a | of_b == set(range(POSTS_RAW.partitions))
        publish(400)
        a.kill()  # in the middle of them
        told = len(b.done)
        publish(400)
        wait_for(lambda: not bus.lag("g", [RAW]))
        wait_for(lambda: b.partitions(told) == of_a | of_b)
    finally:
        for worker in workers:
            worker.kill()
    done = {number for worker in workers for _, number in worker.done}
    assert done == set(range(published)), "nothing is missing"
