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

# ruff: noqa: S603 - every command below is built from constants and this file's own paths

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

BASE = Path(os.environ.get("ENGINES_BASE", Path(__file__).resolve().parent.parent / "var/engines"))
DIST = BASE / "dist"  # shared by all bases: the servers are downloaded once
KAFKA_VERSION, LOG4J_VERSION, ES_VERSION = "4.3.1", "2.25.4", "8.19.21"
READY_S, STOP_S = 120.0, 20.0
IS_ROOT = os.geteuid() == 0
JVM = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]  # half the CPU at the start, less speed

_POM = (
    '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
    "<groupId>local</groupId><artifactId>engines</artifactId><version>1</version>"
    "<packaging>pom</packaging><dependencies>{}</dependencies></project>"
)


class EngineError(RuntimeError):
    """A server is missing, does not start or does not stop; the text says what to do."""


def missing(engine: str) -> str:
    """What this machine lacks for an engine, as a sentence; empty when nothing."""
    if engine == "pg":
        return "" if _pg_bin() else "no PostgreSQL server: apt-get install postgresql"
    lacking = [tool for tool in ("java", "mvn") if not shutil.which(tool)]
    if not lacking:
        return ""
    return f"no {' and '.join(lacking)}: apt-get install openjdk-17-jdk-headless maven"


# -- processes ------------------------------------------------------------------------------


def _start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it is gone or a zombie."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # reap it, if it was our child
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _until(test: Callable[[], bool], limit: float) -> bool:
    end = time.monotonic() + limit
    while not test():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.3)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _java() -> str:
    java = shutil.which("java")
    if java is None:
        raise EngineError(missing("kafka"))
    return str(Path(java).resolve())


def _run(command: list[str], what: str, **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise EngineError(f"{what} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return str(done.stdout)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time: several test runs may start the same servers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _maven(goal: str, folder: Path, artifacts: list[tuple[str, str, str, str]], out: Path) -> None:
    if lack := missing("kafka"):
        raise EngineError(lack)
    shutil.rmtree(folder, ignore_errors=True)  # marks of an earlier run make unpack do nothing
    folder.mkdir(parents=True)
    dependencies = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>"
        f"<version>{version}</version><type>{kind}</type></dependency>"
        for group, name, version, kind in artifacts
    )
    (folder / "pom.xml").write_text(_POM.format(dependencies))
    command = ["mvn", "-q", "-B", "-f", str(folder / "pom.xml"), f"dependency:{goal}"]
    _run([*command, "-DincludeScope=runtime", f"-DoutputDirectory={out}"], f"mvn {goal}")


# -- engines --------------------------------------------------------------------------------


class Engine(ABC):
    """One server or cluster: ``nodes`` processes numbered from 1, ports counted from ``port``."""

    name: ClassVar[str]
    default_port: ClassVar[int]
    default_heap: ClassVar[str] = "256m"
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(
        self,
        base: Path = BASE,
        *,
        port: int = 0,
        nodes: int = 1,
        heap: str = "",
        extra: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        self.base = base.resolve()
        self.port = port or self.default_port
        self.nodes = nodes
        self.heap = heap or self.default_heap
        self.extra = extra  # of the server's own settings, over ours

    @property
    @abstractmethod
    def address(self) -> str:
        """What a client is given."""

    @abstractmethod
    def fetch(self) -> Path:
        """Where the server's files are; downloads them at first use."""

    @abstractmethod
    def _prepare(self) -> None:
        """Write configurations and empty data folders of all nodes."""

    @abstractmethod
    def _launch(self, node: int) -> int:
        """Start one node; its process id."""

    @abstractmethod
    def _is_ready(self, node: int) -> bool: ...

    def folder(self, node: int = 1) -> Path:
        return self.base / "run" / f"{self.name}-{node}"

    def log(self, node: int = 1) -> Path:
        return self.folder(node) / "server.log"

    def pid(self, node: int = 1) -> int | None:
        """The node's process id, None when it does not run."""
        try:
            pid, started = map(int, (self.folder(node) / "pid").read_text().split())
        except (OSError, ValueError):
            return None
        return pid if _start_time(pid) == started else None

    def running(self) -> dict[int, int]:
        """Node -> process id of what runs in this base, also beyond ``nodes``."""
        folders = (self.base / "run").glob(f"{self.name}-*")
        nodes = sorted(int(f.name.rpartition("-")[2]) for f in folders)
        return {node: pid for node in nodes if (pid := self.pid(node))}

    def start(self, *, keep: bool = False) -> str:
        """Start every node that does not run and wait for it; the address."""
        with _locked(self.base / "run" / f"{self.name}.lock"):
            self.fetch()
            has_data = keep and self.folder().exists()
            if not self.running() and not has_data:
                for folder in (self.base / "run").glob(f"{self.name}-*"):
                    shutil.rmtree(folder)
                self._prepare()
            new = [n for n in range(1, self.nodes + 1) if self.pid(n) is None]
            for node in new:
                pid = self._launch(node)
                (self.folder(node) / "pid").write_text(f"{pid} {_start_time(pid) or 0}")
            for node in new:
                self._wait_ready(node)
        return self.address

    def signal(self, number: signal.Signals, node: int | None = None) -> list[int]:
        """Send a signal to one node or to all; the process ids that got it."""
        pids = [pid for n, pid in self.running().items() if node in (None, n)]
        for pid in pids:  # all first: the last Kafka node alone has no quorum to leave
            os.kill(pid, number)
        return pids

    def stop(self, node: int | None = None) -> None:
        """End cleanly; by force what has not ended in 20 s."""
        self.signal(signal.SIGCONT, node)
        pids = self.signal(self.stop_signal, node)
        if not _until(lambda: not any(map(_start_time, pids)), STOP_S):
            self.kill(node)

    def kill(self, node: int | None = None) -> None:
        """SIGKILL, as a crash."""
        pids = self.signal(signal.SIGKILL, node)
        if not _until(lambda: not any(map(_start_time, pids)), STOP_S):
            raise EngineError(f"{self.name}: processes {pids} do not end")

    def freeze(self, node: int | None = None) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self.signal(signal.SIGSTOP, node)

    def thaw(self, node: int | None = None) -> None:
        self.signal(signal.SIGCONT, node)

    def _wait_ready(self, node: int) -> None:
        def ready_or_gone() -> bool:
            return self.pid(node) is None or self._is_ready(node)

        if _until(ready_or_gone, READY_S) and self.pid(node) is not None:
            return
        log = self.log(node)
        tail = log.read_text(errors="replace")[-3000:] if log.exists() else ""
        raise EngineError(f"{self.name}-{node} did not get ready; {log} ends with\n{tail}")


class Kafka(Engine):
    """Brokers that are controllers too (KRaft). Node n listens on ``port + 10 (n - 1)``."""

    name, default_port = "kafka", 19092

    @property
    def address(self) -> str:
        return ",".join(f"127.0.0.1:{self._port(n)}" for n in range(1, self.nodes + 1))

    def fetch(self) -> Path:
        target = DIST / f"kafka-{KAFKA_VERSION}"
        with _locked(DIST / "kafka.lock"):
            if not (target / "done").exists():
                jars = [
                    ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION, "jar"),
                    # the binding for slf4j 1.7: without it the broker writes no log
                    ("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J_VERSION, "jar"),
                    ("org.apache.logging.log4j", "log4j-core", LOG4J_VERSION, "jar"),
                ]
                _maven("copy-dependencies", target, jars, target / "lib")
                (target / "done").touch()
        return target

    def _port(self, node: int) -> int:
        return self.port + 10 * (node - 1)

    def _java_command(self, *options: str) -> list[str]:
        return [_java(), *JVM, *options, "-cp", f"{self.fetch() / 'lib'}/*"]

    def _tool(self, *arguments: str) -> str:
        command = [*self._java_command("-Xmx128m"), "kafka.tools.StorageTool", *arguments]
        return _run(command, "kafka.tools.StorageTool")

    def _prepare(self) -> None:
        nodes = range(1, self.nodes + 1)
        cluster = self._tool("random-uuid").split()[-1]
        how = ["--standalone"]
        if self.nodes > 1:
            ids = {n: self._tool("random-uuid").split()[-1] for n in nodes}
            voters = [f"{n}@127.0.0.1:{self._port(n) + 1}:{ids[n]}" for n in nodes]
            how = ["--initial-controllers", ",".join(voters)]
        for node in nodes:
            folder = self.folder(node)
            folder.mkdir(parents=True)
            (folder / "log4j2.yaml").write_text(_KAFKA_LOG)
            config = folder / "server.properties"
            config.write_text("".join(f"{k}={v}\n" for k, v in self._properties(node).items()))
            self._tool("format", *how, "-t", cluster, "-c", str(config))

    def _properties(self, node: int) -> dict[str, object]:
        port = self._port(node)
        voters = [f"127.0.0.1:{self._port(n) + 1}" for n in range(1, self.nodes + 1)]
        copies = min(3, self.nodes)
        listeners = f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{port + 1}"
        return {
            "process.roles": "broker,controller",
            "node.id": node,
            "listeners": listeners,
            "advertised.listeners": listeners,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.quorum.bootstrap.servers": ",".join(voters),
            "log.dirs": self.folder(node) / "data",
            "default.replication.factor": copies,
            "min.insync.replicas": max(1, copies - 1),
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": 1,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.num.partitions": 1,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": max(1, copies - 1),
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": max(1, copies - 1),
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,  # tests of a killed member are quick
            # after a crash a lone broker waits for the end of its own old session
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            "log.retention.check.interval.ms": 2000,
            "log.segment.bytes": 64 << 20,
            "log.cleaner.dedupe.buffer.size": 8 << 20,
            "log.cleaner.threads": 1,
            "num.network.threads": 2,
            "num.io.threads": 4,
            "background.threads": 2,
            **self.extra,
        }

    def _launch(self, node: int) -> int:
        folder, log = self.folder(node), self.log(node)
        if log.exists():
            log.rename(log.with_suffix(".old"))
        heap = (f"-Xms{self.heap}", f"-Xmx{self.heap}")
        logging = f"-Dlog4j2.configurationFile={folder / 'log4j2.yaml'}"
        command = self._java_command(*heap, logging)
        with log.open("wb") as out:
            return subprocess.Popen(
                [*command, "kafka.Kafka", str(folder / "server.properties")],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd=folder,
            ).pid

    def _is_ready(self, node: int) -> bool:
        # the port opens early; the line is written when the broker may serve
        started = b"Kafka Server started" in self.log(node).read_bytes()
        return started and _is_open(self._port(node))


class Elasticsearch(Engine):
    """Node n serves HTTP on ``port + n - 1`` and talks to the others 100 above.

    The distribution is the one made for integration tests: complete, with few modules. It has
    no handler for ``GET /``, so ask ``/_cluster/health`` whether it is there.
    """

    name, default_port, default_heap = "es", 19200, "384m"

    @property
    def address(self) -> str:
        return ",".join(f"http://127.0.0.1:{self.port + n}" for n in range(self.nodes))

    def fetch(self) -> Path:
        target = DIST / f"elasticsearch-{ES_VERSION}"
        with _locked(DIST / "es.lock"):
            if not (target / "done").exists():
                shutil.rmtree(target, ignore_errors=True)
                group = "org.elasticsearch.distribution.integ-test-zip"
                archive = [(group, "elasticsearch", ES_VERSION, "zip")]
                _maven("unpack-dependencies", DIST / "es-fetch", archive, DIST)
                for path in [target, *target.rglob("*")]:  # another account reads it, see _launch
                    is_program = path.is_dir() or path.parent.name == "bin"
                    path.chmod(0o755 if is_program else 0o644)
                (target / "done").touch()
        return target

    def log(self, node: int = 1) -> Path:
        return self.folder(node) / "logs" / "server.log"

    def _prepare(self) -> None:
        for node in range(1, self.nodes + 1):
            folder = self.folder(node)
            for name in ("config/jvm.options.d", "data", "logs", "tmp"):
                (folder / name).mkdir(parents=True)
            settings = "".join(f"{k}: {json.dumps(v)}\n" for k, v in self._settings(node).items())
            (folder / "config/elasticsearch.yml").write_text(settings)
            (folder / "config/jvm.options").write_text("\n".join([*JVM, *_ES_JVM, ""]))
            (folder / "config/log4j2.properties").write_text(_ES_LOG)
            if IS_ROOT:
                for path in [folder, *folder.rglob("*")]:
                    shutil.chown(path, "nobody", "nogroup")

    def _settings(self, node: int) -> dict[str, object]:
        folder, peers = self.folder(node), range(self.nodes)
        cluster: dict[str, object] = {"discovery.type": "single-node"}
        if self.nodes > 1:
            cluster = {
                "discovery.seed_hosts": [f"127.0.0.1:{self.port + 100 + n}" for n in peers],
                "cluster.initial_master_nodes": [f"n{n + 1}" for n in peers],
            }
        return {
            "cluster.name": "test",
            "node.name": f"n{node}",
            "path.data": str(folder / "data"),
            "path.logs": str(folder / "logs"),
            "network.host": "127.0.0.1",
            "http.port": self.port + node - 1,
            "transport.port": self.port + 99 + node,
            "node.processors": 2,
            "xpack.security.enabled": False,
            "cluster.routing.allocation.disk.threshold_enabled": False,
            # the serial collector leaves garbage lying, which would count as memory in use
            "indices.breaker.total.use_real_memory": False,
            "action.auto_create_index": False,
            "action.destructive_requires_name": True,
            **cluster,
            **self.extra,
        }

    def _launch(self, node: int) -> int:
        """The launcher returns when the server has started, and leaves its number in a file."""
        folder = self.folder(node)
        number = folder / "tmp" / "pid"
        number.unlink(missing_ok=True)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ES_")}
        env = inherited | {
            "ES_JAVA_HOME": str(Path(_java()).parent.parent),
            "ES_PATH_CONF": str(folder / "config"),
            "ES_JAVA_OPTS": f"-Xms{self.heap} -Xmx{self.heap}",
            "ES_TMPDIR": str(folder / "tmp"),
            "HOME": str(folder),
        }
        # the server refuses to run as root
        who = {"user": "nobody", "group": "nogroup", "extra_groups": []} if IS_ROOT else {}
        with (folder / "launcher.log").open("ab") as out:
            launcher = subprocess.Popen(
                [str(self.fetch() / "bin/elasticsearch"), "-d", "-p", str(number)],
                cwd=folder / "tmp",
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                **who,  # type: ignore[call-overload]
            )

        def written_or_failed() -> bool:
            return (number.exists() and number.read_text().strip() != "") or bool(launcher.poll())

        _until(written_or_failed, READY_S)
        if launcher.poll():
            tail = (folder / "launcher.log").read_text(errors="replace")[-3000:]
            raise EngineError(f"es-{node} did not start:\n{tail}")
        return int(number.read_text())

    def _is_ready(self, node: int) -> bool:
        query = f"wait_for_status=yellow&timeout=2s&wait_for_nodes=>={self.nodes // 2 + 1}"
        url = f"http://127.0.0.1:{self.port + node - 1}/_cluster/health?{query}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(json.load(answer)["status"] != "red")
        except (OSError, ValueError):
            return False


class Postgres(Engine):
    """One server. ``fsync`` is off: it survives its own crash, not the machine's."""

    name, default_port = "pg", 55432
    stop_signal = signal.SIGINT  # "fast": does not wait for clients to leave
    password = "engines"  # noqa: S105 - loopback, test data

    @property
    def address(self) -> str:
        return f"postgresql://app:{self.password}@127.0.0.1:{self.port}/postgres"

    def fetch(self) -> Path:
        found = _pg_bin()
        if found is None:
            raise EngineError(missing("pg"))
        return found

    def _command(self, program: str, *arguments: str) -> None:
        # the server refuses to run as root, and its account cannot enter every folder
        account = ["runuser", "-u", "postgres", "--"] if IS_ROOT else []
        command = [*account, str(self.fetch() / program), *arguments]
        # no pipes: the server would inherit them and keep the reader waiting
        null = subprocess.DEVNULL
        done = subprocess.run(command, cwd="/", stdin=null, stdout=null, stderr=null, check=False)
        if done.returncode:
            raise EngineError(f"{program} failed; read {self.log()}")

    def _prepare(self) -> None:
        folder = self.folder()
        folder.mkdir(parents=True, mode=0o700)
        word = folder / "word"
        word.write_text(self.password)
        if IS_ROOT:
            shutil.chown(folder, "postgres", "postgres")
            shutil.chown(word, "postgres", "postgres")
        data = ["-D", str(folder / "data"), "-U", "app", f"--pwfile={word}", "-A", "scram-sha-256"]
        self._command("initdb", *data, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")

    def _launch(self, node: int) -> int:
        folder = self.folder()
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        tuning = " -c fsync=off -c shared_buffers=64MB -c max_connections=100"
        data, log = str(folder / "data"), str(self.log())
        start = ["pg_ctl", "-D", data, "-w", "-l", log, "-o", options + tuning, "start"]

        def starts() -> bool:
            with suppress(EngineError):
                self._command(*start)
                return True
            return False

        # after a crash the old server's children need a moment to leave its memory
        if not _until(starts, STOP_S):
            self._command(*start)
        return int((folder / "data/postmaster.pid").read_text().split()[0])

    def _is_ready(self, node: int) -> bool:
        return _is_open(self.port)

    def signal(self, number: signal.Signals, node: int | None = None) -> list[int]:
        """Its children answer the connections: they are frozen and thawed with it."""
        pids = super().signal(number, node)
        if number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                with suppress(OSError):  # it has ended meanwhile
                    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                        os.kill(int(child), number)
        return pids


def _pg_bin() -> Path | None:
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((p.parent for p in versions), key=lambda p: float(p.parent.name), default=None)


_KAFKA_LOG = """Configuration:
  Appenders:
    Console: {name: out, PatternLayout: {pattern: "%d{ISO8601} %p %c{1} %m%n"}}
  Loggers:
    Root: {level: INFO, AppenderRef: {ref: out}}
"""

_ES_LOG = """status = error
appender.file.type = File
appender.file.name = file
appender.file.fileName = ${sys:es.logs.base_path}/server.log
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] [%node_name]%marker %m%n
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
"""

_ES_JVM = [
    "-Djava.io.tmpdir=${ES_TMPDIR}",
    "-XX:+ExitOnOutOfMemoryError",
    "-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1",
    "20-:--add-modules=jdk.incubator.vector",
]

ENGINES: dict[str, type[Engine]] = {e.name: e for e in (Postgres, Kafka, Elasticsearch)}


# -- command line ---------------------------------------------------------------------------


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
