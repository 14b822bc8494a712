"""Java, and Maven Central, from which the Java servers come."""

from __future__ import annotations

import shutil
from pathlib import Path

from scripts.servers.processes import EngineError, run

JVM = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]  # half the CPU at the start, less speed

_POM = (
    '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
    "<groupId>local</groupId><artifactId>engines</artifactId><version>1</version>"
    "<packaging>pom</packaging><dependencies>{}</dependencies></project>"
)


def lacks() -> str:
    """What this machine lacks, as a sentence; empty when nothing."""
    lacking = [tool for tool in ("java", "mvn") if not shutil.which(tool)]
    if not lacking:
        return ""
    return f"no {' and '.join(lacking)}: apt-get install openjdk-17-jdk-headless maven"


def java() -> str:
    """The path of the program. Raises: EngineError."""
    found = shutil.which("java")
    if found is None:
        raise EngineError(lacks())
    return str(Path(found).resolve())


def maven(goal: str, folder: Path, artifacts: list[tuple[str, str, str, str]], out: Path) -> None:
    """``artifacts``: group, name, version, type. Raises: EngineError."""
    if lack := lacks():
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
    run([*command, "-DincludeScope=runtime", f"-DoutputDirectory={out}"], f"mvn {goal}")
