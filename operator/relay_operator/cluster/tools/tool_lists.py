"""Asks tool servers for their lists of tools, prompts, resources and templates: by MCP 2026-07-28, or in a session of its own by the revisions before.

A server may be hostile: its answers are bounded in time, bytes, pages and entries, and what it redirects or resolves to is not
followed to addresses that relays may not reach either. None of its texts is kept or told but names that can be granted.
"""

import asyncio
import codecs
import hashlib
import ipaddress
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import TypeAdapter, ValidationError

from relay_contract.tools.definitions import definition_digest, described
from relay_contract.tools.patterns import DefinitionName, ResourceName
from relay_contract.tools.tool_server import SESSION_REVISIONS
from relay_operator.cluster.connecting.connection_errors import in_words
from relay_operator.decisions.tools.definitions import MOST_DEFINITIONS, MOST_RESOURCES
from relay_operator.decisions.tools.differences import Marks
from relay_operator.errors import ToolServerUnusable
from relay_operator.manifests import reach
from relay_operator.manifests.addresses.forbidden_addresses import block, is_disguised, open_part
from relay_operator.manifests.environment import Upstream
from relay_operator.names import Reason

REVISION: Final = "2026-07-28"
_VERSION: Final = "mcp-protocol-version"
_SESSION: Final = "mcp-session-id"
_SESSION_ID: Final = re.compile(r"[!-~]{1,1024}")
_SECONDS: Final = 15.0
"""For all pages of tools and prompts."""
_RESOURCE_SECONDS: Final = 5.0
"""Beside these, for resources and templates: nobody's tools are to go for want of them."""
_MOST_ANSWER_BYTES: Final = 2 * 1024 * 1024
_MOST_BYTES: Final = 4 * 1024 * 1024
_MOST_PAGES: Final = 64
_MOST_MARKS: Final = 32
_OTHER_FIELDS: Final = "other fields"
_END_SECONDS: Final = 2.0
_MOST_CURSOR_CHARACTERS: Final = 4096
_METHOD_NOT_FOUND: Final = -32601
_UNSUPPORTED: Final = frozenset({400, 404, 405, 406, 415})
"""Statuses by which servers of other revisions refuse a request without a session."""
_DEFINITION_NAME: Final = TypeAdapter(DefinitionName)
_RESOURCE_NAME: Final = TypeAdapter(ResourceName)
_CLIENT: Final = {"name": "relay-operator", "version": "1"}
_META: Final = {
    "io.modelcontextprotocol/protocolVersion": REVISION,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": _CLIENT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a tool server is, and how it is asked. upstream is what network policies open to relays."""

    url: str
    upstream: Upstream
    header: str = ""
    credential: str = ""
    ca_bundle: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The definitions of a server by name: digests, and marks of their fields. skipped counts names that nothing can grant,
    revision is that of the protocol by which they were given. unread says why there are no resources and templates; empty where there are.
    """

    tools: Mapping[str, str]
    prompts: Mapping[str, str]
    marks: Mapping[tuple[str, str], Marks]
    resources: Mapping[str, str] | None = None
    templates: Mapping[str, str] | None = None
    unread: str = ""
    skipped: int = 0
    revision: str = REVISION


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What a list has, and how its entries are named; most bounds those together that are counted with them."""

    noun: str
    method: str
    key: str
    named_by: str = "name"
    name: TypeAdapter[str] = _DEFINITION_NAME
    most: int = MOST_DEFINITIONS
    those: str = "tools and prompts"
    is_resource: bool = False


_TOOLS: Final = _Kind(noun="tool", method="tools/list", key="tools")
_PROMPTS: Final = _Kind(noun="prompt", method="prompts/list", key="prompts")
_RESOURCES: Final = _Kind(
    noun="resource",
    method="resources/list",
    key="resources",
    named_by="uri",
    name=_RESOURCE_NAME,
    most=MOST_RESOURCES,
    those="resources and templates",
    is_resource=True,
)
_TEMPLATES: Final = replace(
    _RESOURCES,
    noun="template",
    method="resources/templates/list",
    key="resourceTemplates",
    named_by="uriTemplate",
)


def _connector(resolver: AbstractResolver) -> aiohttp.BaseConnector:
    return aiohttp.TCPConnector(resolver=resolver, force_close=True, limit=2)


class ToolLists:
    """Opens connections of its own for each server: nothing of one is there for another."""

    def __init__(
        self,
        *,
        cluster_cidrs: tuple[str, ...] = (),
        connect: Callable[[AbstractResolver], aiohttp.BaseConnector] = _connector,
        seconds: float = _SECONDS,
    ) -> None:
        self._cluster_cidrs = cluster_cidrs
        self._connect = connect
        self._seconds = seconds

    async def read(self, address: Address) -> Listed:
        """Reads the lists; raises ToolServerUnusable for those of tools and prompts."""
        host = urlsplit(address.url).hostname or ""
        if _is_address(host) and not self._lets_out(address.upstream, host):
            raise self._closed(address.upstream, "endpoint.url names", host)
        resolver = _Guarded(lambda found: self._lets_out(address.upstream, found))
        try:
            async with aiohttp.ClientSession(
                connector=self._connect(resolver),
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            ) as session:
                reading = _Reading(session, address)
                try:
                    async with asyncio.timeout(self._seconds):
                        tools, prompts = await reading.tools_and_prompts()
                    return await reading.with_resources(tools, prompts)
                finally:
                    await reading.end()
        except TimeoutError as error:
            raise ToolServerUnusable(
                f"its lists were not read within {self._seconds:g} s", reason=Reason.UNREACHABLE
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if resolver.refused:
                raise self._closed(
                    address.upstream, f"{host} leads to", *resolver.refused
                ) from error
            raise ToolServerUnusable(
                f"no answer: {in_words(error)}", reason=Reason.UNREACHABLE
            ) from error

    def _closed(self, upstream: Upstream, where: str, *addresses: str) -> ToolServerUnusable:
        """Returns why none of these addresses is connected to: the first that could be opened, and how, else that none is."""
        lack = (
            "is not among egressCIDRs" if upstream.cidrs else "is private, and egressCIDRs is empty"
        )
        for address in map(_plain, addresses):
            opened = None if is_disguised(address) else open_part(address, self._cluster_cidrs)
            if opened is not None:
                return ToolServerUnusable(
                    f"{where} {address}, which {lack}: relays may not reach it; "
                    f"add its block, e.g. {opened[0]}, to spec.egressCIDRs",
                    reason=Reason.ADDRESS_CLOSED,
                )
        return ToolServerUnusable(
            f"{where} {_plain(addresses[0])}, which is loopback, link-local, a metadata service or of this cluster: "
            "relays of tenants are not led there, whatever egressCIDRs names; name the server's own address",
            reason=Reason.ADDRESS_FORBIDDEN,
        )

    def _lets_out(self, upstream: Upstream, address: str) -> bool:
        plain = _plain(address)
        if is_disguised(plain):
            return False
        if upstream.namespace:
            # by the name that the cluster's DNS gives a Service, whose owner can have made another of it since it was looked at
            return open_part(plain, ()) is not None
        port = upstream.port
        assert isinstance(port, int)
        return reach.lets_out((upstream,), plain, port, cluster_cidrs=self._cluster_cidrs)


class _Guarded(AbstractResolver):
    """Resolves names to those addresses alone that may be connected to: the check and the connection see the same.

    refused are those of a name that has no other.
    """

    def __init__(self, allows: Callable[[str], bool]) -> None:
        self.refused: tuple[str, ...] = ()
        self._allows = allows
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        allowed = [one for one in found if self._allows(one["host"])]
        if not allowed:
            self.refused = tuple(one["host"] for one in found)
            raise OSError("its name leads to no address that relays may reach")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


class _Reading:
    """One reading of the lists, with what is left of its bounds."""

    def __init__(self, client: aiohttp.ClientSession, address: Address) -> None:
        self.revision = REVISION
        self._client = client
        self._address = address
        self._trusted = _trust(address.ca_bundle)
        self._greeting: dict[str, str] | None = None
        self._session_fields: dict[str, str] = {}
        self._bytes = 0
        self._count = 0
        self._marks: dict[tuple[str, str], Marks] = {}
        self._skipped = 0

    async def tools_and_prompts(self) -> tuple[dict[str, str], dict[str, str]]:
        return await self._list(_TOOLS), await self._list(_PROMPTS)

    async def with_resources(self, tools: dict[str, str], prompts: dict[str, str]) -> Listed:
        resources, templates, unread = await self._resources()
        return Listed(
            tools=tools,
            prompts=prompts,
            marks=self._marks,
            resources=resources,
            templates=templates,
            unread=unread,
            skipped=self._skipped,
            revision=self.revision,
        )

    async def _resources(self) -> tuple[dict[str, str] | None, dict[str, str] | None, str]:
        """Returns resources and templates, or why they cannot be read: nobody loses a tool for that."""
        self._count = 0
        try:
            async with asyncio.timeout(_RESOURCE_SECONDS):
                return await self._list(_RESOURCES), await self._list(_TEMPLATES), ""
        except TimeoutError:
            return None, None, f"they were not read within {_RESOURCE_SECONDS:g} s"
        except ToolServerUnusable as error:
            return None, None, str(error)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return None, None, f"no answer: {in_words(error)}"

    async def _list(self, kind: "_Kind") -> dict[str, str]:
        found: dict[str, str] = {}
        params: dict[str, Any] = {}
        for _ in range(_MOST_PAGES):
            result = await self._ask(kind.method, params)
            if result is None:
                return {}
            page, cursor = result.get(kind.key), result.get("nextCursor")
            if not isinstance(page, list):
                raise _invalid(f"{kind.method} has no {kind.key}")
            for entry in page:
                self._take(entry, kind, found)
            if cursor is None:
                return found
            if not isinstance(cursor, str) or len(cursor) > _MOST_CURSOR_CHARACTERS:
                raise _invalid(f"{kind.method} has a cursor that is none")
            params = {"cursor": cursor}
        raise ToolServerUnusable(
            f"{kind.method} has more than {_MOST_PAGES} pages", reason=Reason.TOO_MANY_DEFINITIONS
        )

    def _take(self, entry: Any, kind: "_Kind", found: dict[str, str]) -> None:
        name = entry.get(kind.named_by) if isinstance(entry, dict) else None
        self._count += 1
        if self._count > kind.most:
            raise ToolServerUnusable(
                f"it lists more than {kind.most} {kind.those}", reason=Reason.TOO_MANY_DEFINITIONS
            )
        try:
            name = kind.name.validate_python(name, strict=True)
        except ValidationError:
            self._skipped += 1
            return
        if name in found:
            raise _invalid(f"it lists the {kind.noun} {name} twice")
        said = described(entry) if kind.is_resource else entry
        found[name] = definition_digest(said)
        self._marks[(kind.noun, name)] = _marks(said)

    async def _ask(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Returns the result of a request; None where the server does not know the method.

        A server that refuses the first one is greeted in the way of the revisions with sessions.
        """
        status, answer = await self._send(method, params)
        if self._greeting is None and _is_refusal(status, answer) and await self._greet():
            status, answer = await self._send(method, params)
        error = answer.get("error") if answer is not None else None
        if isinstance(error, dict) and error.get("code") == _METHOD_NOT_FOUND:
            return None
        result = answer.get("result") if answer is not None else None
        if status == HTTPStatus.OK and isinstance(result, dict):
            return result
        raise _of_status(status) if status != HTTPStatus.OK else _invalid("it answers no result")

    async def _send(
        self, method: str, params: Mapping[str, Any]
    ) -> tuple[int, Mapping[str, Any] | None]:
        if self._greeting is not None:
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": dict(params)}
            return await self._post(body, self._greeting)
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": _META}}
        return await self._post(body, {_VERSION: REVISION, "mcp-method": method})

    async def _greet(self) -> bool:
        """Begins a session (MCP 2025-11-25, basic/lifecycle); False where the server begins none."""
        params = {
            "protocolVersion": SESSION_REVISIONS[0],
            "capabilities": {},
            "clientInfo": _CLIENT,
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        status, answer = await self._post(body, {})
        result = answer.get("result") if answer is not None else None
        if status != HTTPStatus.OK or not isinstance(result, dict):
            return False
        revision = result.get("protocolVersion")
        if revision not in SESSION_REVISIONS:
            raise ToolServerUnusable(
                f"it speaks no revision of the protocol that relays do: {REVISION}, {', '.join(SESSION_REVISIONS)}",
                reason=Reason.REVISION_UNSUPPORTED,
            )
        self.revision = revision
        self._greeting = {_VERSION: revision} | self._session_fields
        await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}, self._greeting)
        return True

    async def end(self) -> None:
        """Ends the session that was begun, if any: a server would keep one for each look."""
        if self._session_fields:
            with suppress(aiohttp.ClientError, OSError, ValueError, TimeoutError):
                fields = self._fields(self._greeting or self._session_fields)
                # the time of the look may be over already, and a server may never answer
                async with (
                    asyncio.timeout(_END_SECONDS),
                    self._client.delete(
                        self._address.url, headers=fields, allow_redirects=False, ssl=self._trusted
                    ),
                ):
                    pass

    def _fields(self, fields: Mapping[str, str]) -> dict[str, str]:
        shown = self._address
        return {
            "accept": "application/json, text/event-stream",
            "accept-encoding": "identity",
            **fields,
        } | ({shown.header: shown.credential} if shown.credential else {})

    async def _post(
        self, body: Mapping[str, Any], fields: Mapping[str, str]
    ) -> tuple[int, Mapping[str, Any] | None]:
        """Returns status and message of an answer; None for one that is no message."""
        async with self._client.post(
            self._address.url,
            json=body,
            headers=self._fields(fields),
            allow_redirects=False,
            ssl=self._trusted,
        ) as answer:
            session = answer.headers.get(_SESSION, "")
            if body["method"] == "initialize" and _SESSION_ID.fullmatch(session):
                self._session_fields = {_SESSION: session}
            if answer.content_type == "text/event-stream":
                return answer.status, await self._first_response(answer)
            raw = b"".join([piece async for piece in self._pieces(answer)])
            return answer.status, _message(raw)

    async def _first_response(self, answer: aiohttp.ClientResponse) -> Mapping[str, Any] | None:
        """Returns the first response in a stream of events, which a server may leave open after it."""
        events = _Events()
        async for piece in self._pieces(answer):
            for data in events.feed(piece):
                message = _message(data)
                if message is not None and "method" not in message:
                    return message
        return None

    async def _pieces(self, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Yields what arrives of an answer while that is within bounds."""
        size = 0
        async for piece in answer.content.iter_any():
            size += len(piece)
            self._bytes += len(piece)
            if size > _MOST_ANSWER_BYTES or self._bytes > _MOST_BYTES:
                raise ToolServerUnusable(
                    f"its lists are longer than {_MOST_BYTES} bytes, or a page than {_MOST_ANSWER_BYTES}",
                    reason=Reason.TOO_MANY_DEFINITIONS,
                )
            yield piece


class _Events:
    """Parts a stream into the data of its events (WHATWG HTML, section 9.2); each byte is looked at once or twice."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._has_begun = self._ends_with_cr = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        if self._ends_with_cr:
            # the second half of a line end
            piece = piece.removeprefix(b"\n")
        self._ends_with_cr = piece.endswith(b"\r")
        self._line += piece
        if b"\n" not in piece and b"\r" not in piece:
            return
        text = bytes(self._line)
        if not self._has_begun:
            self._has_begun = True
            text = text.removeprefix(codecs.BOM_UTF8)
        *lines, rest = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._line = bytearray(rest)
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                data, self._data = b"\n".join(self._data), []
                yield data


def _message(raw: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(raw, object_pairs_hook=_unambiguous, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _marks(entry: Mapping[str, Any]) -> Marks:
    """Returns the marks of a definition's fields; of very many those behind the first ones have one together, since marks are kept."""
    fields = list(entry)
    rest = {field: entry[field] for field in fields[_MOST_MARKS:]}
    marks = {field: _mark(entry[field]) for field in fields[:_MOST_MARKS]}
    return marks | {_OTHER_FIELDS: _mark(rest)} if rest else marks


def _mark(value: Any) -> tuple[str, int]:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16], len(text)


def _invalid(message: str) -> ToolServerUnusable:
    return ToolServerUnusable(message, reason=Reason.INVALID_ANSWER)


def _of_status(status: int) -> ToolServerUnusable:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return ToolServerUnusable(
            f"it answers {status}: the credential is missing or refused", reason=Reason.UNAUTHORIZED
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return ToolServerUnusable(f"it answers {status}", reason=Reason.SERVER_ERROR)
    return _invalid(f"it answers {status}, and no list")


@lru_cache(16)
def _trust(ca_bundle: str | None) -> ssl.SSLContext | bool:
    return True if ca_bundle is None else ssl.create_default_context(cadata=ca_bundle)


def _is_refusal(status: int, answer: Mapping[str, Any] | None) -> bool:
    """Tells whether a server may have refused a request because it knows no such revision."""
    error = answer.get("error") if answer is not None else None
    if isinstance(error, dict):
        return bool(error.get("code") != _METHOD_NOT_FOUND)
    return status in _UNSUPPORTED


def _plain(address: str) -> str:
    """Returns an address as the network sees it: IPv4 inside IPv6 as IPv4, without the zone of a link."""
    return str(block(address.partition("%")[0]).network_address)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
