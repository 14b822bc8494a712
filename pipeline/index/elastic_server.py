"""The line to Elasticsearch: calls whose failures are ours, in bounded time and in one sentence."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from elasticsearch import ApiError, Elasticsearch, SSLError, TransportError

from pipeline.errors import EngineDown
from pipeline.index.elastic_json import SERIALIZERS

T = TypeVar("T")

STARTING_S = (0.1, 0.2, 0.4, 0.8, 0.0)  # pauses before a call is made again
NEARLY_FULL = 0.15  # free share of a disk; the server places no new index below 0.1
ASIDE_S = 2.0  # for a question about a failure


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
            serializers=SERIALIZERS,
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

        A shard that another process made a moment ago answers 503 until it has started, a server
        that is short of memory 429; that is waited for, a little.
        """
        for nap in STARTING_S:
            try:
                return call(**given)
            except ApiError as error:
                if error.status_code in passing:
                    raise
                if error.status_code in (429, 503) and nap:
                    time.sleep(nap)
                    continue
                raise EngineDown(_advice(error.status_code, str(error))) from error
            except SSLError as error:
                raise EngineDown(
                    "no encrypted line to Elasticsearch (its certificate is not trusted, or of"
                    " another name, or it speaks no TLS); check tls_ca_file and elastic_urls"
                ) from error
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

    def write(self, call: Callable[..., T], **given: Any) -> T:
        """As ``call``; when it fails for want of space, that is what is said."""
        try:
            return self.call(call, **given)
        except EngineDown as error:
            raise EngineDown(self._lacks(NEARLY_FULL) or str(error)) from error

    def cannot_write(self, status: int, said: Mapping[str, Any]) -> EngineDown:
        """What the refusal of a document for now means. 429: its index takes only deletes, which
        the server makes of all of them when its disk is full."""
        reason = f"{said.get('type')}: {said.get('reason')}"[:300]
        lacks = self._lacks(1.0 if status == 429 else NEARLY_FULL)
        return EngineDown(lacks or f"Elasticsearch cannot write now ({reason}); it is tried again")

    def _lacks(self, limit: float) -> str:
        """A sentence when there is no master, or less than ``limit`` of a node's disk is free;
        else, or when the server does not say, nothing. A few questions of two seconds at most."""
        aside = self.client.options(request_timeout=ASIDE_S)
        try:
            node = aside.cluster.state(metric="master_node", filter_path="master_node", local=True)
            if not node.get("master_node"):
                return (
                    "Elasticsearch has no master: its disk is full to the last byte, or too few of "
                    "its nodes run; when that is mended it goes on by itself"
                )
            said = aside.nodes.stats(metric="fs", filter_path="nodes.*.name,nodes.*.fs.total")
            disks = [(node["fs"]["total"], node["name"]) for node in said["nodes"].values()]
            share, size, name = min(
                (disk["available_in_bytes"] / disk["total_in_bytes"], disk["total_in_bytes"], name)
                for disk, name in disks
            )
        except (ApiError, TransportError, KeyError, ValueError):
            return ""
        if share >= limit:
            return ""
        return (
            f"Elasticsearch's disk is full: free space on {name} is {share:.0%} of "
            f"{size / 1e9:.1f} GB; free some, it goes on by itself"
        )

    def close(self) -> None:
        self.client.close()


def _advice(status: int, said: str) -> str:
    if status in (401, 403):
        return f"Elasticsearch refuses the account ({status}); check elastic_user and password"
    if status == 408:
        return (
            "Elasticsearch starts no index for a new day, as when its disk is full; it is tried "
            "again"
        )
    return f"Elasticsearch: {said[:300]}"
