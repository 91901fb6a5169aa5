"""Row 12: what a page in a user's browser could send by DNS rebinding or from another origin."""

from tests.tool_isolation.callers import Client, result_of
from tests.tool_isolation.findings import Findings
from tests.tool_isolation.gateway import Gateway, new_mark, was_refused

EVIL = "https://evil.example"


def other_origins_are_refused(gateway: Gateway, found: Findings) -> None:
    """Row 12: the protocol has servers validate Origin (basic/transports, security warning)."""
    for client, _ in gateway.clients:
        for what, headers in {
            "of another origin": {"origin": EVIL},
            "of another origin to its own host name": {"origin": EVIL, "host": "evil.example"},
            "of a null origin": {"origin": "null"},
        }.items():
            mark = new_mark()
            tool = gateway.one.tool
            content = client.message("tools/call", name=tool, arguments={"mark": mark})
            answer = client.say(content, headers)
            found.expect(
                was_refused(answer) and not gateway.server.executed(mark),
                f"{client.era.value}: a call from a page {what} is made",
            )
            allowed = [value for name, value in answer.headers if name.endswith("allow-origin")]
            found.expect(
                not {EVIL, "null"} & set(allowed),
                f"{client.era.value}: a page {what} may read the answer",
            )
        _no_origin_is_allowed_beforehand(client, found)
    found.leave_out("addresses of servers that tenants register: no tenant does so over MCP")


def _no_origin_is_allowed_beforehand(client: Client, found: Findings) -> None:
    asked = {
        client.caller.header: None,
        "origin": EVIL,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type",
    }
    answer = client.caller.send(b"", asked, method="OPTIONS")
    allowed = {value for name, value in answer.headers if name == "access-control-allow-origin"}
    found.expect(
        not allowed & {EVIL, "*"}, f"a page of another origin is allowed to call: {allowed}"
    )
    found.expect(result_of(answer) is None, "OPTIONS is answered with a result")
