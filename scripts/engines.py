#!/usr/bin/env python3
"""Real Kafka, Elasticsearch and PostgreSQL servers on loopback, without Docker.

    scripts/engines.py start kafka|es|pg|all   start what is not running, wait until it answers
    scripts/engines.py status                  addresses, process ids, memory
    scripts/engines.py stop|kill kafka|es|pg|all [--node N]
    scripts/engines.py freeze|thaw kafka|es|pg [--node N]
    scripts/engines.py fetch                   only download
    scripts/engines.py settings                lines for tingfeng.toml that use them

Kafka and Elasticsearch come from Maven Central by the machine's own ``mvn``, PostgreSQL from the
Debian package ``postgresql``. Standard library only. For tests and for a look at the distributed
profile: no TLS, one password for all, data that nobody backs up. Never for a bureau's service.

Every process is known by its number and its start time in ``<base>/run/<engine>-<node>/pid``;
nothing is ever ended by name. ``start`` makes empty servers; with ``--keep``, or when another
node of the engine is still running, it starts on the data that is there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # when run as a script

from scripts.servers.elasticsearch import Elasticsearch
from scripts.servers.engine import BASE, Engine
from scripts.servers.kafka import Kafka
from scripts.servers.postgres import Postgres
from scripts.servers.processes import EngineError

ENGINES: dict[str, type[Engine]] = {e.name: e for e in (Postgres, Kafka, Elasticsearch)}


def _status(engine: Engine) -> Iterator[str]:
    for node, pid in engine.running().items():
        status = Path(f"/proc/{pid}/status").read_text()
        memory = int(status.partition("VmRSS:")[2].split()[0]) // 1024
        yield f"{engine.name}-{node}  pid {pid}  {memory} MB  {engine.folder(node)}"


_SETTING = {"pg": "database_url", "kafka": "kafka_servers", "es": "elastic_urls"}


def _settings(engines: list[Engine], only: str) -> Iterator[str]:
    """Lines for tingfeng.toml that use these servers."""
    if not only:
        yield 'profile = "distributed"'
    for engine in engines:
        name, address = _SETTING[engine.name], engine.address
        if name == only:
            yield address
        elif not only:
            value = json.dumps(address if name == "database_url" else address.split(","))
            yield f"{name} = {value}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = ["fetch", "start", "stop", "kill", "freeze", "thaw", "status", "settings"]
    parser.add_argument("command", choices=commands)
    parser.add_argument("engine", nargs="?", default="all", choices=[*ENGINES, "all"])
    parser.add_argument("--base", type=Path, default=BASE, help="where data and logs go")
    parser.add_argument("--port", type=int, default=0, help="first port; for one engine")
    parser.add_argument("--nodes", type=int, default=1, help="start: size of the cluster")
    parser.add_argument("--node", type=int, help="stop, kill, freeze, thaw: only this one")
    parser.add_argument("--heap", default="", help="memory of a Java server, as 256m")
    parser.add_argument("--keep", action="store_true", help="start on the data that is there")
    parser.add_argument("--only", default="", help="settings: the value of this one alone")
    given = parser.parse_args()
    names = list(ENGINES) if given.engine == "all" else [given.engine]
    if len(names) > 1 and (given.port or given.nodes > 1):
        parser.error("--port and --nodes belong to one engine")
    engines = [
        ENGINES[name](
            given.base, port=given.port, nodes=1 if name == "pg" else given.nodes, heap=given.heap
        )
        for name in names
    ]

    if given.command == "settings":
        print("\n".join(_settings(engines, given.only)))
        return 0

    def act(engine: Engine) -> str:
        began = time.monotonic()
        if given.command == "start":
            address = engine.start(keep=given.keep)
            return f"{engine.name}  {address}  {time.monotonic() - began:.1f} s"
        if given.command == "fetch":
            return f"{engine.name}  {engine.fetch()}"
        if given.command == "status":
            return "\n".join(_status(engine)) or f"{engine.name}  does not run"
        getattr(engine, given.command)(given.node)
        return f"{engine.name}  {given.command}: done in {time.monotonic() - began:.1f} s"

    with ThreadPoolExecutor(len(engines)) as threads:
        try:
            for line in threads.map(act, engines):
                print(line, flush=True)
        except EngineError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
