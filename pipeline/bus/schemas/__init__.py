"""JSON Schemas (draft 2020-12) of the public messages, shipped with the package."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def load_schema(name: str) -> dict[str, Any]:
    """The schema of a message body, as ``load_schema("alert/1")``. Raises: FileNotFoundError."""
    text = files(__name__).joinpath(f"{name.replace('/', '-')}.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
