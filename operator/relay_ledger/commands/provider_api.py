"""The usage and cost reports of a provider over its API, page after page. The key is an administrator's, and read from a file of its own."""

import http.client
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from json import JSONDecodeError, loads
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from relay_ledger.periods.zones import SECOND
from relay_ledger.reconciliation.provider_report import PROJECT_FIELDS, Dialect, Layer, Page

BASES: Final[Mapping[Dialect, str]] = {
    "openai": "https://api.openai.com",
    "anthropic": "https://api.anthropic.com",
}
MAX_PAGES: Final = 1000
MAX_PAGE_BYTES: Final = 16 * 1024 * 1024
_SECONDS: Final = 60
_KEY: Final = re.compile(rb"[!-~]+")
"""What a header can have; http.client would tell the whole key where it refuses one."""
_ROUTES: Final[Mapping[Dialect, tuple[tuple[Layer, str, tuple[str, ...], str], ...]]] = {
    "openai": (
        (
            "usage",
            "/v1/organization/usage/completions",
            ("model", "api_key_id", "batch", "service_tier"),
            "31",
        ),
        ("costs", "/v1/organization/costs", ("line_item",), "180"),
    ),
    "anthropic": (
        (
            "usage",
            "/v1/organizations/usage_report/messages",
            ("model", "api_key_id", "service_tier"),
            "31",
        ),
        ("costs", "/v1/organizations/cost_report", ("description",), "31"),
    ),
}
"""What it is of, path, what to group by, and how many buckets of a day a page may have."""


class ProviderRefused(Exception):
    """A report that the provider did not give; the message says what it answered."""


class ReportApi:
    """Asks one provider. base is its address, without a path; by_project has rows tell which project or workspace they are of."""

    def __init__(
        self,
        dialect: Dialect,
        *,
        key_file: Path,
        base: str | None = None,
        by_project: bool = False,
    ) -> None:
        self._dialect = dialect
        self._base = urlsplit(base or BASES[dialect])
        self._key_file = key_file
        self._further = (PROJECT_FIELDS[dialect],) if by_project else ()

    def pages(self, *, start: int, end: int) -> Iterator[Page]:
        """Yields every page of usage and of costs; raises ProviderRefused, OSError."""
        for layer, path, groups, limit in _ROUTES[self._dialect]:
            query = [("bucket_width", "1d"), ("limit", limit), *self._times(start, end)]
            query += [("group_by[]", name) for name in (*groups, *self._further)]
            for text in self._all(path, query):
                yield Page(text, layer)

    def _all(self, path: str, query: list[tuple[str, str]]) -> Iterator[str]:
        page: str | None = None
        for _ in range(MAX_PAGES):
            asked = query if page is None else [*query, ("page", page)]
            text = self._get(f"{path}?{urlencode(asked)}")
            yield text
            page = _next_page(text, path)
            if page is None:
                return
        raise ProviderRefused(f"{path} has more than {MAX_PAGES} pages: ask for a shorter time")

    def _get(self, target: str) -> str:
        secure = self._base.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        path = target.partition("?")[0]
        with closing(
            kind(self._base.hostname or "", self._base.port, timeout=_SECONDS)
        ) as connection:
            try:
                connection.request("GET", target, headers=self._headers())
                response = connection.getresponse()
                body = response.read(MAX_PAGE_BYTES + 1)
            except http.client.HTTPException:
                raise ProviderRefused(f"{path}: its answer was broken off, or is no HTTP") from None
        if response.status != http.HTTPStatus.OK:
            raise ProviderRefused(f"{path} answered {response.status}: {_one_line(body[:200])}")
        if len(body) > MAX_PAGE_BYTES:
            raise ProviderRefused(f"{path}: a page of more than {MAX_PAGE_BYTES} bytes")
        return body.decode(errors="replace")

    def _headers(self) -> dict[str, str]:
        content = self._key_file.read_bytes().strip()
        if not _KEY.fullmatch(content):
            raise ProviderRefused("the key file does not hold one key on one line")
        key = content.decode("ascii")
        if self._dialect == "openai":
            return {"Authorization": f"Bearer {key}"}
        return {"x-api-key": key, "anthropic-version": "2023-06-01"}

    def _times(self, start: int, end: int) -> list[tuple[str, str]]:
        if self._dialect == "openai":
            return [("start_time", str(start // SECOND)), ("end_time", str(end // SECOND))]
        return [("starting_at", _rfc3339(start)), ("ending_at", _rfc3339(end))]


def _rfc3339(at: int) -> str:
    return f"{datetime.fromtimestamp(at // SECOND, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _one_line(body: bytes) -> str:
    return " ".join(body.decode(errors="replace").split())


def _next_page(text: str, path: str) -> str | None:
    try:
        content: Any = loads(text)
        return str(content["next_page"]) if content["has_more"] else None
    except (JSONDecodeError, KeyError, TypeError):
        raise ProviderRefused(f"{path} answered what is no page of a report") from None
