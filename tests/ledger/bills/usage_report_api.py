"""A provider's administration API on this machine: usage and costs in the documented shapes, page by page, for an administrator's key."""

import json
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ADMIN_KEY = "sk-admin-0123"


def openai_page(buckets: Sequence[dict[str, Any]], more: str | None = None) -> dict[str, Any]:
    return {
        "object": "page",
        "data": list(buckets),
        "has_more": more is not None,
        "next_page": more,
    }


def openai_usage(start: int, **result: Any) -> dict[str, Any]:
    """A bucket of a day; start in seconds."""
    one = {
        "object": "organization.usage.completions.result",
        "input_tokens": 0,
        "output_tokens": 0,
        "input_cached_tokens": 0,
        "num_model_requests": 1,
        "model": "gpt-4.1",
        "api_key_id": "key_ours",
        "batch": None,
        "service_tier": None,
        **result,
    }
    return {"object": "bucket", "start_time": start, "end_time": start + 86_400, "results": [one]}


def openai_cost(start: int, value: float | str) -> dict[str, Any]:
    amount = {"value": float(value), "currency": "usd"}
    one = {"object": "organization.costs.result", "amount": amount, "line_item": "gpt-4.1"}
    return {"object": "bucket", "start_time": start, "end_time": start + 86_400, "results": [one]}


def openai_month(start: int, value: float, *, days: int = 31) -> list[dict[str, Any]]:
    """Returns the buckets of a month that begins on the first of March 2026, in which one day cost something."""
    first = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())
    month = [{**openai_cost(first + number * 86_400, 0), "results": []} for number in range(days)]
    return [openai_cost(start, value) if one["start_time"] == start else one for one in month]


def anthropic_page(day: str, following: str, *results: dict[str, Any]) -> dict[str, Any]:
    bucket = {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{following}T00:00:00Z"}
    return {"data": [{**bucket, "results": list(results)}], "has_more": False, "next_page": None}


class UsageReportApi:
    """Serves pages by path; asks for the key as the provider does, and remembers what was asked."""

    def __init__(self, pages: dict[str, list[dict[str, Any]]]) -> None:
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = parse_qs(parts.query)
                keys = (
                    self.headers.get("x-api-key"),
                    self.headers.get("Authorization", "").removeprefix("Bearer "),
                )
                api.asked.append((parts.path, query))
                known = pages.get(parts.path)
                if ADMIN_KEY not in keys or known is None:
                    self.answer(401, {"error": {"message": "no admin key"}})
                    return
                self.answer(200, known[int(query.get("page", ["0"])[0])])

            def answer(self, status: int, content: dict[str, Any]) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Writes nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
