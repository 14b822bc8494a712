"""A tiny HTTP server that answers as Elasticsearch does: for what a real one cannot be made to do.

It knows the questions of a start and empty answers to searches, and takes every document;
``version``, ``status`` and ``delay_s`` make it the wrong one, an unwilling one or a slow one,
``busy`` one that has no time for so many bulk requests and for half of the next one.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ElasticReplica:
    """Listens from the start until ``close``; every request is a connection of its own."""

    def __init__(self, *, version: str = "8.19.2", status: int = 200, delay_s: float = 0.0) -> None:
        replica = self
        self.version, self.status, self.delay_s = version, status, delay_s
        self.busy = 0
        self.taken: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                asked = self.rfile.read(int(self.headers.get("content-length") or 0))
                time.sleep(replica.delay_s)
                status, said = replica.status, replica.said(self.path)
                if self.path.startswith("/_bulk"):
                    status, said = replica.bulk(asked)
                body = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("content-type", "application/vnd.elasticsearch+json")
                self.send_header("x-elastic-product", "Elasticsearch")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_HEAD = answer

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def bulk(self, asked: bytes) -> tuple[int, dict[str, Any]]:
        busy = {"type": "es_rejected_execution_exception", "reason": "the queue is full"}
        if self.busy:
            self.busy -= 1
            return 429, {"error": busy, "status": 429}
        items, is_first = [], not self.taken
        lines = [json.loads(line) for line in asked.splitlines()]
        for n, head in enumerate(line["create"] for line in lines if "create" in line):
            item = {"_index": head["_index"], "_id": head["_id"], "status": 201}
            if n % 2 and is_first:
                item |= {"status": 429, "error": busy}
            else:
                self.taken.append(head["_id"])
            items.append({"create": item})
        return 200, {"items": items}

    def said(self, path: str) -> dict[str, Any]:
        if self.status != 200:
            return {"error": {"type": "security_exception", "reason": "unable to authenticate"}}
        if "/_alias" in path:
            return {}
        if path.startswith("/_nodes"):
            return {"nodes": {"n1": {"version": self.version}}}
        return {
            "acknowledged": True,
            "shards_acknowledged": True,
            "docs": [],
            "hits": {"hits": [], "total": {"value": 0}},
            "aggregations": {
                "newest": {"value": None},
                "cells": {"buckets": []},
                "values": {"buckets": [], "sum_other_doc_count": 0},
            },
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
