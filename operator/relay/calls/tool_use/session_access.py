"""Opens the session of a request, and says how its messages reach the servers."""

import os
import re
import time
from typing import Final

from relay.calls.call_context import CallContext
from relay.calls.tenants.caller import Caller
from relay.dialect.refusals import Refusal
from relay.http.message import Request
from relay.routing.snapshot import ToolAccess
from relay.tools.permissions import Permissions
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.sealed.sealing import NONCE_BYTES, SessionBinding
from relay.tools.sealed.sessions import ServerSession, Session, SessionSeal
from relay_contract.document import TenantDocument

SESSION_HEADER: Final = b"mcp-session-id"
LAST_EVENT_HEADER: Final = b"last-event-id"
STREAM_FIELDS: Final = b"accept: text/event-stream\r\n"
_VERSION_HEADER: Final = b"mcp-protocol-version"
MAX_NARROWED: Final = 16
"""Of all sets of servers that sessions may have begun with, so many permissions are kept: they are made again in milliseconds."""
_LOOPBACK: Final = re.compile(rb"(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?")


def is_of_a_page(request: Request) -> bool:
    """Returns whether a page that a browser shows may have made the request.

    Such a page has no key of a tenant's: whoever names an Origin may be one that was led here by a name of its own (DNS
    rebinding). Only what a machine serves to itself comes from where it goes to, by a name that is nobody else's.
    """
    origin = request.fields.get(b"origin")
    if origin is None:
        return False
    host = request.fields.get(b"host", b"").lower()
    is_own = origin.lower() in (b"http://" + host, b"https://" + host)
    return not is_own or _LOOPBACK.fullmatch(host) is None


def secret_of(context: CallContext, caller: Caller, access: ToolAccess) -> bytes:
    """Returns what states and sessions are sealed by: the credentials of the tenant's tool servers, else of its providers."""
    providers = context.providers
    return providers.shared_secret(access.upstreams.values()) or providers.shared_secret(
        caller.snapshot.all_upstreams()
    )


def holder_of(caller: Caller) -> str:
    """Returns whose states and sessions these are.

    Tenants may have one server, and so its credential, in common, and give their keys the same names.
    """
    return f"{caller.snapshot.document.tenant.uid}/{caller.key.name}"


def new_nonce() -> bytes:
    """Returns a nonce that was never there."""
    return os.urandom(NONCE_BYTES)


def session_seal(context: CallContext, caller: Caller, access: ToolAccess) -> SessionSeal:
    """Returns the seal of the caller's sessions now."""
    secret = secret_of(context, caller, access)
    return SessionSeal(secret=secret, caller=holder_of(caller), now=time.time())


def session_binding(
    request: Request, context: CallContext, caller: Caller, access: ToolAccess
) -> SessionBinding:
    """Returns what ids of events and of servers' requests are bound to in the session that the request names."""
    return SessionBinding(
        secret=secret_of(context, caller, access),
        caller=holder_of(caller),
        session=request.fields[SESSION_HEADER].decode("latin-1"),
    )


def session_of(
    request: Request, context: CallContext, caller: Caller, access: ToolAccess
) -> Session | ProtocolError:
    """Returns the session that a request names, or why it cannot be part of one.

    With other servers than those that it began with a session is over: what was agreed at its beginning is no longer so.
    """
    given = [value for name, value in request.headers if name == SESSION_HEADER]
    if not given:
        return ProtocolError.missing_session
    session = session_seal(context, caller, access).opened(given[0].decode("latin-1"))
    if (
        session is None
        or len(given) > 1
        or set(session.granted) != set(access.permissions.all_servers())
    ):
        return ProtocolError.unknown_session
    version = request.fields.get(_VERSION_HEADER)
    if version is not None and version != session.version.encode():
        return ProtocolError.header_mismatch
    return session


def permissions_in(session: Session, tenant: TenantDocument, access: ToolAccess) -> Permissions:
    """Returns what the tenant may use; servers that could not be reached when the session began have no lists."""
    if len(session.servers) == len(session.granted) or tenant.tools is None:
        return access.permissions
    reached = frozenset(one.server for one in session.servers)
    narrowed = access.narrowed.get(reached)
    if narrowed is None:
        narrowed = Permissions(tenant.tools, tenant.uid, reached)
        if len(access.narrowed) >= MAX_NARROWED:
            access.narrowed.clear()
        access.narrowed[reached] = narrowed
    return narrowed


def session_and_access(
    request: Request, context: CallContext, caller: Caller
) -> tuple[Session, ToolAccess] | Refusal | ProtocolError:
    """Returns the session of a request without a message, and what it may reach, or why there is none."""
    access = caller.snapshot.tools
    if access is None:
        return Refusal.unknown_url
    if is_of_a_page(request):
        return ProtocolError.forbidden_origin
    session = session_of(request, context, caller, access)
    return session if isinstance(session, ProtocolError) else (session, access)


def session_fields(server: ServerSession) -> bytes:
    """Renders the fields of a message inside a session at a server."""
    return version_field(server.version) + (
        b"mcp-session-id: %b\r\n" % server.id.encode() if server.id else b""
    )


def bodiless_request(method: bytes, head: bytes, fields: bytes, position: str = "") -> bytes:
    """Renders a request without a body. head begins one by POST; position is the id after which a stream goes on, empty without one."""
    lines = [method, head.removeprefix(b"POST"), fields]
    if position:
        lines.append(b"%b: %b\r\n" % (LAST_EVENT_HEADER, position.encode()))
    return b"".join([*lines, b"\r\n"])


def version_field(version: str) -> bytes:
    """Renders the field that says the revision of a message."""
    return b"mcp-protocol-version: %b\r\n" % version.encode()
