"""Elasticsearch, from Maven Central."""

# ruff: noqa: S603 - every command is built from constants and this package's own paths

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

from scripts.servers import java
from scripts.servers.engine import DIST, IS_ROOT, READY_S, Engine
from scripts.servers.processes import EngineError, locked, until

ES_VERSION = "8.19.21"

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


class Elasticsearch(Engine):
    """Node n serves HTTP on ``port + n - 1`` and talks to the others 100 above.

    The distribution is the one made for integration tests: complete, with few modules. It has
    no handler for ``GET /``, so ask ``/_cluster/health`` whether it is there.
    """

    name, default_port, default_heap = "es", 19200, "384m"

    @classmethod
    def lacks(cls) -> str:
        return java.lacks()

    @property
    def address(self) -> str:
        return ",".join(f"http://{self.host}:{self.port + n}" for n in range(self.nodes))

    def fetch(self) -> Path:
        target = DIST / f"elasticsearch-{ES_VERSION}"
        with locked(DIST / "es.lock"):
            if not (target / "done").exists():
                shutil.rmtree(target, ignore_errors=True)
                group = "org.elasticsearch.distribution.integ-test-zip"
                archive = [(group, "elasticsearch", ES_VERSION, "zip")]
                java.maven("unpack-dependencies", DIST / "es-fetch", archive, DIST)
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
            (folder / "config/jvm.options").write_text("\n".join([*java.JVM, *_ES_JVM, ""]))
            (folder / "config/log4j2.properties").write_text(_ES_LOG)
            if IS_ROOT:
                for path in [folder, *folder.rglob("*")]:
                    shutil.chown(path, "nobody", "nogroup")

    def _settings(self, node: int) -> dict[str, object]:
        folder, peers = self.folder(node), range(self.nodes)
        cluster: dict[str, object] = {"discovery.type": "single-node"}
        if self.nodes > 1:
            cluster = {
                "discovery.seed_hosts": [f"{self.host}:{self.port + 100 + n}" for n in peers],
                "cluster.initial_master_nodes": [f"n{n + 1}" for n in peers],
            }
        return {
            "cluster.name": "test",
            "node.name": f"n{node}",
            "path.data": str(folder / "data"),
            "path.logs": str(folder / "logs"),
            "network.host": self.host,
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
            "ES_JAVA_HOME": str(Path(java.java()).parent.parent),
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

        until(written_or_failed, READY_S)
        if launcher.poll():
            tail = (folder / "launcher.log").read_text(errors="replace")[-3000:]
            raise EngineError(f"es-{node} did not start:\n{tail}")
        return int(number.read_text())

    def _is_ready(self, node: int) -> bool:
        query = f"wait_for_status=yellow&timeout=2s&wait_for_nodes=>={self.nodes // 2 + 1}"
        url = f"http://{self.host}:{self.port + node - 1}/_cluster/health?{query}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(json.load(answer)["status"] != "red")
        except (OSError, ValueError):
            return False
