"""The files that a bureau edits: read as TOML, refused in one sentence."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pipeline.errors import SettingsError


def read_toml(path: Path) -> dict[str, Any]:
    """What the file says. Raises: SettingsError naming the file and the place in it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
