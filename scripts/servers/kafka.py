"""Apache Kafka, from Maven Central."""

# ruff: noqa: S603 - every command is built from constants and this package's own paths

from __future__ import annotations

import subprocess
from pathlib import Path

from scripts.servers import java
from scripts.servers.engine import DIST, Engine
from scripts.servers.processes import is_open, locked, run

KAFKA_VERSION, LOG4J_VERSION = "4.3.1", "2.25.4"

_KAFKA_LOG = """Configuration:
  Appenders:
    Console: {name: out, PatternLayout: {pattern: "%d{ISO8601} %p %c{1} %m%n"}}
  Loggers:
    Root: {level: INFO, AppenderRef: {ref: out}}
"""


class Kafka(Engine):
    """Brokers that are controllers too (KRaft). Node n listens on ``port + 10 (n - 1)``."""

    name, default_port = "kafka", 19092

    @classmethod
    def lacks(cls) -> str:
        return java.lacks()

    @property
    def address(self) -> str:
        return ",".join(f"{self.host}:{self._port(n)}" for n in range(1, self.nodes + 1))

    def fetch(self) -> Path:
        target = DIST / f"kafka-{KAFKA_VERSION}"
        with locked(DIST / "kafka.lock"):
            if not (target / "done").exists():
                jars = [
                    ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION, "jar"),
                    # the binding for slf4j 1.7: without it the broker writes no log
                    ("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J_VERSION, "jar"),
                    ("org.apache.logging.log4j", "log4j-core", LOG4J_VERSION, "jar"),
                ]
                java.maven("copy-dependencies", target, jars, target / "lib")
                (target / "done").touch()
        return target

    def _port(self, node: int) -> int:
        return self.port + 10 * (node - 1)

    def _java_command(self, *options: str) -> list[str]:
        return [java.java(), *java.JVM, *options, "-cp", f"{self.fetch() / 'lib'}/*"]

    def _tool(self, *arguments: str) -> str:
        command = [*self._java_command("-Xmx128m"), "kafka.tools.StorageTool", *arguments]
        return run(command, "kafka.tools.StorageTool")

    def _prepare(self) -> None:
        nodes = range(1, self.nodes + 1)
        cluster = self._tool("random-uuid").split()[-1]
        how = ["--standalone"]
        if self.nodes > 1:
            ids = {n: self._tool("random-uuid").split()[-1] for n in nodes}
            voters = [f"{n}@{self.host}:{self._port(n) + 1}:{ids[n]}" for n in nodes]
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
        voters = [f"{self.host}:{self._port(n) + 1}" for n in range(1, self.nodes + 1)]
        copies = min(3, self.nodes)
        listeners = f"PLAINTEXT://{self.host}:{port},CONTROLLER://{self.host}:{port + 1}"
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
        return started and is_open(self.host, self._port(node))
