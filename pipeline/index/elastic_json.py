"""What goes to Elasticsearch and comes back is written and read by msgspec: the client's own json
took as much time for a document as everything else about it."""

from __future__ import annotations

from typing import Any

import msgspec
from elasticsearch.serializer import JsonSerializer, NdjsonSerializer


class _Quick:
    def json_dumps(self, data: Any) -> bytes:
        return msgspec.json.encode(data)

    def json_loads(self, data: bytes) -> Any:
        try:
            return msgspec.json.decode(data)
        except msgspec.DecodeError as error:
            raise ValueError(f"not JSON: {error}") from error  # what the client expects


class _Json(_Quick, JsonSerializer):
    pass


class _Ndjson(_Quick, NdjsonSerializer):
    pass


SERIALIZERS = {kind.mimetype: kind() for kind in (_Json, _Ndjson)}
