"""The rules of the house that no other tool checks."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typer import Typer

from pipeline.bus.topics import TOPICS
from pipeline.settings import Settings

ROOT = Path(__file__).parent.parent
PACKAGES = ("nlp", "crawlers", "pipeline", "dashboard")


def docs() -> str:
    return "\n".join(p.read_text("utf-8") for p in sorted((ROOT / "docs").glob("*.md")))


def test_every_setting_is_documented_with_an_example() -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    example = (ROOT / ".env.example").read_text("utf-8")
    for name, field in Settings.model_fields.items():
        assert f"`{name}`" in page, f"docs/settings.md does not name {name}"
        assert f"TINGFENG_{name.upper()}=" in example, f".env.example does not name {name}"
        assert field.description, f"{name} has no description"


def test_every_rule_file_is_documented() -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    for file in (ROOT / "pipeline" / "defaults").glob("*.toml"):
        assert f"`{file.name}`" in page


def test_every_topic_is_documented() -> None:
    text = docs()
    for name in TOPICS:
        assert f"`{name}`" in text


def commands(cli: Typer) -> set[str]:
    group = typer.main.get_command(cli)
    found = set()
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        if command.hidden:
            continue
        inner = getattr(command, "commands", None)
        found |= {f"{name} {sub}" for sub in inner} if inner else {name}
    return found


def test_every_command_is_in_the_readme_or_docs() -> None:
    from pipeline.cli import app

    text = docs() + (ROOT / "README.md").read_text("utf-8")
    for command in commands(app):
        assert f"tingfeng {command}" in text, f"no page names `tingfeng {command}`"


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_opens_nothing(package: str) -> None:
    """Importing every module reads no setting, opens no file for writing, no socket."""
    code = f"""
import sys
opened = []
def hook(event, args):
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        opened.append(args[0])
    if event in ("socket.connect", "sqlite3.connect"):  # urllib3 itself tries a bind for IPv6
        opened.append(event)
sys.addaudithook(hook)
import importlib, pkgutil
import {package}
for m in pkgutil.walk_packages({package}.__path__, "{package}."):
    if ".migrations" in m.name or m.name.startswith("dashboard.screens"):
        continue
    importlib.import_module(m.name)
bad = [o for o in opened if "__pycache__" not in str(o) and ".nb" not in str(o)
       and "matplotlib" not in str(o) and "numba" not in str(o) and o not in (None, 1, 2)]
assert not bad, bad
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_no_pickle_and_no_forbidden_module_names() -> None:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            assert path.name not in {"utils.py", "helpers.py", "common.py", "manager.py"}, path
            text = path.read_text("utf-8")
            assert not re.search(r"^\s*(import|from) (pickle|joblib)\b", text, re.M), path
            assert "allow_pickle=True" not in text, path


def test_only_engines_imports_an_adapter() -> None:
    adapters = re.compile(r"from pipeline\.(bus|index)\.(sqlite|kafka|elastic) import")
    for path in (ROOT / "pipeline").rglob("*.py"):
        if path.name == "engines.py" or path.parent.name in {"bus", "index"}:
            continue
        if path.name in ("bench.py", "migrating.py"):  # they name one adapter on purpose
            continue
        assert not adapters.search(path.read_text("utf-8")), f"{path} imports an adapter"


def test_every_module_has_a_docstring() -> None:
    for package in PACKAGES:
        for info in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if info.ispkg or ".versions" in info.name:
                continue
            path = ROOT / Path(*info.name.split(".")).with_suffix(".py")
            assert path.read_text("utf-8").lstrip().startswith(('"""', 'r"""')), path
