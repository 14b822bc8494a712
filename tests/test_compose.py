"""docker-compose.yml and the Dockerfile, read as text: no image is built or started here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.parts import PARTS
from pipeline.settings import Settings, load_settings

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = {name: s for name, s in SERVICES.items() if s.get("build")}
ONCE = "setup"  # ends by itself, so there is nothing to watch
GIVEN = {
    "ELASTIC_PASSWORD": "e" * 20,
    "POSTGRES_PASSWORD": "p" * 20,
    "TINGFENG_SECRET_KEY": "s" * 44,
    "TINGFENG_VAULT_KEY": "v" * 44,
}


def filled(text: str, given: dict[str, str]) -> str:
    """Compose's ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}``; ``$$`` is a dollar."""

    def value(match: re.Match[str]) -> str:
        name, how, rest = match["name"], match["how"] or "", match["rest"] or ""
        if given.get(name):
            return given[name]
        if how == ":?":
            raise KeyError(name)
        return rest

    pattern = r"\$\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<rest>[^}]*))?\}"
    return re.sub(pattern, value, text).replace("$$", "$")


def environment(service: str, given: dict[str, str]) -> dict[str, str]:
    named = SERVICES[service]["environment"]
    return {name: filled(str(value), given) for name, value in named.items()}


def test_the_services_are_three_servers_and_every_part() -> None:
    assert set(SERVICES) - set(OURS) == {"kafka", "elasticsearch", "postgres"}
    run = {s["command"][1] for s in OURS.values()}
    assert run == set(PARTS) - {"site"}  # the replica site belongs to drills on one machine
    for service in OURS.values():
        assert service["command"][0] == "part" and service["command"][2:] == ["--config", "/data"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_check_a_limit_and_the_one_network(name: str) -> None:
    service = SERVICES[name]
    assert service["networks"] == ["tingfeng"] and list(FILE["networks"]) == ["tingfeng"]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["restart"] == ("no" if name == ONCE else "unless-stopped")
    if name != ONCE:
        check = service["healthcheck"]
        assert check["test"][0] in ("CMD", "CMD-SHELL")
        assert {"interval", "timeout", "retries", "start_period"} <= set(check)
    for volume in service["volumes"]:
        assert volume.partition(":")[0] in FILE["volumes"]
    assert ("ports" in service) == (name == "board")


@pytest.mark.parametrize("name", OURS)
def test_our_parts_may_write_nothing_but_their_volume(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["tmpfs"] == ["/tmp"]
    assert service["volumes"] == ["home:/data"]
    assert service["image"] == "tingfeng:local" and "privileged" not in service


def test_parts_that_must_be_alone_are_and_workers_match_partitions() -> None:
    assert [n for n in OURS if "deploy" in OURS[n]] == ["annotate"]
    workers = SERVICES["annotate"]["deploy"]["replicas"]
    for count in ("1", "3"):
        given = GIVEN | {"ANNOTATE_WORKERS": count}
        assert filled(workers, given) == count
        assert environment("annotate", given)["TINGFENG_KAFKA_PARTITIONS"] == count
    assert environment("annotate", GIVEN)["TINGFENG_ONE_OF_SEVERAL"] == "true"


def test_health_checks_look_at_the_file_that_the_part_touches() -> None:
    for name, service in OURS.items():
        if name in (ONCE, "board"):
            continue
        part = service["command"][1]
        looked = re.search(r"/data/beats -name (\S+) ", service["healthcheck"]["test"][1])
        assert looked is not None
        one_of_several = "TINGFENG_ONE_OF_SEVERAL" in service["environment"]
        assert looked[1] == (f"{part}@$$(hostname)" if one_of_several else part)


@pytest.mark.parametrize("name", OURS)
def test_every_name_is_a_setting_and_the_settings_are_whole(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable, value in environment(name, GIVEN).items():
        assert variable.removeprefix("TINGFENG_").lower() in Settings.model_fields, variable
        monkeypatch.setenv(variable, value)
    settings = load_settings(tmp_path)
    assert settings.profile == "distributed" and settings.kafka_servers == ("kafka:9092",)
    for url, server in (
        (settings.elastic_urls[0], "elasticsearch"),
        (settings.database_url.get_secret_value(), "postgres"),
        (settings.kafka_servers[0], "kafka"),
    ):
        assert server in SERVICES and re.search(rf"(^|[/@]){server}:\d+", url)


def test_no_password_has_a_default() -> None:
    for name in GIVEN:
        rest = {k: v for k, v in GIVEN.items() if k != name}
        with pytest.raises(KeyError, match=name):
            filled(TEXT, rest)
    assert not re.search(r"(?i)(password|secret|token|key)\w*: *[\"']?[\w-]+[\"']?$", TEXT, re.M)


def test_nothing_is_open_to_the_network_unless_asked() -> None:
    assert SERVICES["board"]["ports"] == ["${BOARD_ADDRESS:-127.0.0.1:8501}:8501"]
    board = environment("board", GIVEN)
    assert board["TINGFENG_HOST"] == "0.0.0.0" and board["TINGFENG_METRICS_TOKEN"] == ""


def test_the_image_is_pinned_by_the_lock_and_does_not_run_as_root() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert "--require-hashes --no-deps -r requirements-distributed.lock" in text
    assert "\nUSER 10001:10001\n" in text
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert ignored[0] == "*"  # what is not named stays outside: data, keys, .env
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.M):
        for source in line.split():
            assert (ROOT / source).exists() and f"!{source}" in ignored, source


def test_compose_itself_takes_the_file() -> None:
    client = _client()
    if client is None:
        pytest.skip("no docker compose here; the file was read as YAML only")
    done = subprocess.run(
        [*client, "-f", str(ROOT / "docker-compose.yml"), "config", "-q"],
        env={**os.environ, **GIVEN},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def _client() -> list[str] | None:
    if shutil.which("docker"):
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=30)
        if plugin.returncode == 0:
            return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None
