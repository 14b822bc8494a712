"""The line to Elasticsearch: calls whose failures are ours, in bounded time and in one sentence."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from elasticsearch import ApiError, Elasticsearch, TransportError

from pipeline.errors import EngineDown

T = TypeVar("T")

STARTING_S = (0.1, 0.2, 0.4, 0.8, 0.0)  # pauses before a call is made again
PASSING = (404, 503)  # of a search: an index that goes just now, a shard that starts


class Server:
    """A client, and what its failures mean. Thread-safe.

    ``ca_file``: PEM file of the authority behind the servers' certificates; empty = those the
    system trusts. ``timeout_s``: how long an answer may take. The server itself is told to give
    up a write a little earlier, so that it can say why.
    """

    def __init__(
        self, urls: Sequence[str], user: str, password: str, timeout_s: float, ca_file: str = ""
    ) -> None:
        encrypted = bool(ca_file) and urls[0].startswith("https://")
        trusted: dict[str, Any] = {"ca_certs": ca_file} if encrypted else {}
        self.client = Elasticsearch(
            list(urls),
            basic_auth=(user, password) if user else None,
            **trusted,
            request_timeout=timeout_s,
            retry_on_timeout=False,
            max_retries=0,
        )
        self.patience = f"{max(1, round(timeout_s * 600))}ms"

    def check(self) -> None:
        """Raises: EngineDown when the server is not there, or not version 8."""
        said = self.call(self.client.nodes.info, filter_path="nodes.*.version")
        versions = {node["version"] for node in said["nodes"].values()}
        if any(not version.startswith("8.") for version in versions):
            raise EngineDown(
                f"Elasticsearch is version {', '.join(sorted(versions))}; Tingfeng needs 8.19"
            )

    def call(self, call: Callable[..., T], *, passing: Sequence[int] = (), **given: Any) -> T:
        """The call, its failures as EngineDown. ``passing``: status codes the caller handles.

        A shard that another process made a moment ago answers 503 until it has started; that is
        waited for, a little.
        """
        for nap in STARTING_S:
            try:
                return call(**given)
            except ApiError as error:
                if error.status_code in passing:
                    raise
                if error.status_code == 503 and nap:
                    time.sleep(nap)
                    continue
                raise EngineDown(_advice(error.status_code, str(error))) from error
            except TransportError as error:
                raise EngineDown(
                    f"Elasticsearch does not answer ({type(error).__name__}); "
                    "start it, or check elastic_urls"
                ) from error
        raise AssertionError("the last nap is 0")

    def search(self, *, passing: Sequence[int] = (), **given: Any) -> Any:
        """A search that answers for every shard or not at all: never with less than there is.

        An index that is dropped between the alias and its shards is no failure: the alias does
        not name it any more, so the question is put again.
        """
        for again in (True, False):
            try:
                return self.call(
                    self.client.search,
                    passing=(*passing, 404),
                    allow_partial_search_results=False,
                    **given,
                )
            except ApiError as error:
                if error.status_code in passing:
                    raise
                if not again:
                    raise EngineDown(_advice(error.status_code, str(error))) from error
        raise AssertionError("the second time raises")

    def close(self) -> None:
        self.client.close()


def _advice(status: int, said: str) -> str:
    if status in (401, 403):
        return f"Elasticsearch refuses the account ({status}); check elastic_user and password"
    return f"Elasticsearch: {said[:300]}"
