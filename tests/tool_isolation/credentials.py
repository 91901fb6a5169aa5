"""Rows 7, 8, 15 and the fault of seeds: who is let in, and where credentials and secrets must not be."""

import base64
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from tests.blackbox.wire import Answer
from tests.tool_isolation.callers import Caller, Client, Headers, entered, result_of
from tests.tool_isolation.findings import Findings
from tests.tool_isolation.gateway import Gateway, new_mark, was_refused

METADATA: Final = "/.well-known/oauth-protected-resource"


def only_a_whole_credential_is_let_in(gateway: Gateway, found: Findings) -> None:
    """Row 7: a credential that is missing, changed, forged or of two tenants at once is let in nowhere."""
    one, other = gateway.one.caller, gateway.other.caller
    kind, _, secret = one.credential.rpartition(" ")
    prefix = f"{kind} " if kind else ""
    cases: dict[str, Headers] = {
        "no credential": {one.header: None},
        "an empty credential": {one.header: prefix},
        "a credential without its last sign": {one.header: prefix + secret[:-1]},
        "a credential with one sign more": {one.header: prefix + secret + "A"},
        "another's scheme": {one.header: f"Basic {secret}"},
        "the name of no tenant": {one.header: f"{prefix}sk-none"},
        "credentials of two tenants in one header, twice": {
            one.header: [one.credential, other.credential]
        },
        "credentials of two tenants, the other way round": {
            one.header: [other.credential, one.credential]
        },
    }
    cases |= {what: {one.header: prefix + forged} for what, forged in _forged(secret).items()}
    if len(cases) == 8:
        found.leave_out("forged claims and signatures: the credential is no signed token")
    for client, _ in gateway.clients:
        for what, headers in cases.items():
            mark = new_mark()
            content = client.message(
                "tools/call", name=gateway.one.shared, arguments={"mark": mark}
            )
            answer = client.say(content, headers)
            found.expect(
                was_refused(answer) and not gateway.server.executed(mark),
                f"{client.era.value}: {what} is let in",
            )
        _a_named_tenant_is_not_believed(gateway, client, found)
    _a_credential_is_good_at_its_own_url(gateway, found)


def _forged(secret: str) -> dict[str, str]:
    """Returns what a signed token is changed to without its key; nothing for what is none."""
    parts = secret.split(".")
    try:
        header, claims = (json.loads(_decoded(part)) for part in parts[:2])
    except ValueError:
        return {}
    if len(parts) != 3 or not isinstance(header, dict) or not isinstance(claims, dict):
        return {}
    unsigned = {"alg": "none", "typ": "JWT"}
    signature = parts[2]
    changed: dict[str, dict[str, Any]] = {
        "another subject": {**claims, "sub": "admin@example.com", "is_admin": True, "teams": None},
        "an end far away": {**claims, "exp": 4_000_000_000},
    }
    return {
        "a token of no algorithm": f"{_part(unsigned)}.{parts[1]}.",
        "a token of no algorithm with its signature": f"{_part(unsigned)}.{parts[1]}.{signature}",
        "a token without its signature": f"{parts[0]}.{parts[1]}.",
        **{
            f"a token with {what}": f"{parts[0]}.{_part(content)}.{signature}"
            for what, content in changed.items()
        },
    }


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _part(content: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def _a_named_tenant_is_not_believed(gateway: Gateway, client: Client, found: Findings) -> None:
    """A header that names a tenant, or brings the other's credential in another place, opens nothing of the other's."""
    other = gateway.other.caller.credential
    secret = other.rpartition(" ")[2]
    for what, headers in {
        "x-tenant-id": {"x-tenant-id": "b"},
        "x-forwarded-user": {"x-forwarded-user": "b"},
        "x-api-key": {"x-api-key": secret},
        "proxy-authorization": {"proxy-authorization": other},
        "a cookie": {"cookie": f"jwt_token={secret}; access_token={secret}"},
    }.items():
        mark = new_mark()
        tool = gateway.other.tool
        content = client.message("tools/call", name=tool, arguments={"mark": mark})
        answer = client.say(content, headers)
        found.expect(
            was_refused(answer) and not gateway.server.executed(mark),
            f"{client.era.value}: beside one tenant's credential, the other's tool is called by {what}",
        )


def _a_credential_is_good_at_its_own_url(gateway: Gateway, found: Findings) -> None:
    one, other = gateway.one.caller, gateway.other.caller
    if one.url == other.url:
        found.leave_out("a credential at the other tenant's URL: both have one")
        return
    crossed = Caller(other.url, one.credential, one.header)
    for client in entered(crossed):
        mark = new_mark()
        answer = client.call(gateway.other.tool, mark=mark)
        found.expect(
            was_refused(answer) and not gateway.server.executed(mark),
            f"{client.era.value}: one tenant's credential calls the other's tool at the other's URL",
        )
    found.expect(
        not any(result_of(answer) for answer in crossed.answers),
        "one tenant's credential is let in at the other's URL",
    )


def credentials_stay_where_they_belong(gateway: Gateway, found: Findings) -> None:
    """Row 8: what a caller shows never reaches the server behind, and what the server is shown is in no answer."""
    secrets = [one.caller.credential.rpartition(" ")[2] for one in (gateway.one, gateway.other)]
    for client, _ in gateway.clients:
        client.call(gateway.one.tool, mark=new_mark())
        client.call(gateway.one.tool, mark=new_mark(), behave="tells")
    for secret in secrets:
        found.expect(
            not any(secret in str(seen) for seen in gateway.server.seen),
            "a caller's credential reaches the server behind",
        )
    shown = shown_to_the_server(gateway)
    if not shown:
        found.leave_out("the server's own credential: the gateway showed it none")
    told = [*gateway.one.caller.answers, *gateway.other.caller.answers]
    for secret in shown:
        found.expect(
            not any(secret.encode() in _bytes(answer) for answer in told),
            "the credential for the server behind is in an answer",
        )


def shown_to_the_server(gateway: Gateway) -> set[str]:
    """Returns the secrets by which the gateway showed itself to the server behind."""
    fields = [headers.get("authorization", "") for _, _, headers, _ in gateway.server.seen]
    return {value.rpartition(" ")[2] for value in fields if value}


def _bytes(answer: Answer) -> bytes:
    return answer.body + str(answer.headers).encode()


def nothing_secret_is_logged(gateway: Gateway, found: Findings) -> None:
    """A fault seen elsewhere: seeds and credentials in logs."""
    if gateway.by_hand.log is None:
        found.leave_out("the log of the gateway was not given")
        return
    text = gateway.by_hand.log()
    found.expect(bool(text), "the log of the gateway is empty")
    secrets = [one.caller.credential.rpartition(" ")[2] for one in (gateway.one, gateway.other)]
    for secret in (*secrets, *shown_to_the_server(gateway)):
        found.expect(secret not in text, "a credential is in the log")
    for client, _ in gateway.clients:
        if client.session:
            found.expect(client.session not in text, "a session id is in the log")


def tokens_are_for_this_resource(gateway: Gateway, found: Findings) -> None:
    """Row 15: what the gateway says of itself as a resource of OAuth is true; consent and redirects need an authorization server."""
    for caller in (gateway.one.caller, gateway.other.caller):
        parts = urlsplit(caller.url)
        for path in (METADATA, METADATA + parts.path):
            answer = caller.send(b"", {}, method="GET", path=path)
            try:
                resource = json.loads(answer.body)["resource"] if answer.status == 200 else None
            except (ValueError, KeyError, TypeError):
                resource = None
            if resource is not None:
                found.expect(
                    caller.url.startswith(str(resource).rstrip("/")),
                    f"the resource is said to be {resource}, not {caller.url}",
                )
    if not found.held and not found.broken:
        found.leave_out("the gateway takes no tokens of an authorization server at these URLs")
    found.leave_out("consent, redirects and states: they are the authorization server's")
