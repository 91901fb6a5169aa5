"""`python -m tests.tool_isolation`: tries whether a gateway for tools keeps two tenants apart; any gateway, by URLs and credentials.

The suite is the server behind: it listens on 127.0.0.1 at --server-port, and the gateway has to be told of it as a tool server at
http://127.0.0.1:PORT/mcp, before or while this waits. Its tools are read_invoice (for the first tenant alone), pay (for the other
alone), list_orders (for both) and list_secrets (for neither); names that the gateway publishes otherwise are given by options. The
exit code is 1 if anything broke. Only use it against gateways of your own: it sends them what an attacker would.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.blackbox.session_server import serving_sessions
from tests.tool_isolation import report
from tests.tool_isolation import watched_server as behind
from tests.tool_isolation.callers import DEADLINE_SECONDS, Caller, entered
from tests.tool_isolation.gateway import ByHand, Gateway, Tenant, names
from tests.tool_isolation.rows import ROWS
from tests.tool_isolation.watched_server import WatchedServer


def main(argv: Sequence[str]) -> int:
    """Returns the exit code of the command."""
    options = _parser().parse_args(argv)
    server = WatchedServer(page_size=options.page_size)
    with serving_sessions(server, options.server_port):
        gateway = _gateway(options, server)
        _wait(gateway, options.wait_seconds)
        found = {}
        for row in ROWS:
            if not options.row or row.name in options.row:
                found[row.name] = row.run(gateway)
                print(f"{row.name}: {found[row.name].outcome}", file=sys.stderr, flush=True)
        for line in report.lines(found):
            print(line)
    return 0 if report.is_whole(found) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.tool_isolation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--url", required=True, help="where the first tenant calls")
    add("--credential", required=True, help="its header's whole value, such as `Bearer key`")
    add("--other-url", help="where the other calls, if not there as well")
    add("--other-credential", required=True)
    add("--credential-header", default="authorization")
    add("--server-port", type=int, default=9700, help="where the server behind listens")
    add("--page-size", type=int, default=100, help="entries on a page of the server's lists")
    add("--own-tool", default=behind.OWN_TOOL, help="published names of the four tools")
    add("--other-tool", default=behind.OTHER_TOOL)
    add("--shared-tool", default=behind.SHARED_TOOL)
    add("--other-shared-tool", help="its name for the other tenant, if another")
    add("--denied-tool", default=behind.DENIED_TOOL)
    add("--own-prompt", default="", help=f"{behind.OWN_PROMPT}, if it is offered")
    add("--other-prompt", default="", help=f"{behind.OTHER_PROMPT}, if it is offered")
    add("--own-resource", default="", help=f"{behind.OWN_RESOURCE}, if it is offered")
    add("--other-resource", default="", help=f"{behind.OTHER_RESOURCE}, if it is offered")
    add("--revoke", help="a command that takes the first tenant's own tool away (row 6)")
    add("--limit", help="a command that gives both tenants a low rate (row 9)")
    add("--records", help="a command that prints a line for each recorded call (row 10)")
    add("--log", type=Path, help="the gateway's log")
    add("--rounds", type=int, default=1000, help="calls with one id (row 3)")
    add("--pairs", type=int, default=1000, help="pairs of timed calls (row 2)")
    add("--answer-seconds", type=float, default=DEADLINE_SECONDS, help="for an answer to a call")
    add("--wait-seconds", type=float, default=120, help="for both tenants to see their tools")
    add("--row", action="append", help="run this row alone; may be given several times")
    return parser


def _gateway(options: argparse.Namespace, server: WatchedServer) -> Gateway:
    header, seconds = options.credential_header, options.answer_seconds
    other_url = options.other_url or options.url
    log: Path | None = options.log
    records: str | None = options.records
    return Gateway(
        one=Tenant(
            Caller(options.url, options.credential, header, seconds),
            options.shared_tool,
            options.own_tool,
            options.own_prompt,
            options.own_resource,
        ),
        other=Tenant(
            Caller(other_url, options.other_credential, header, seconds),
            options.other_shared_tool or options.shared_tool,
            options.other_tool,
            options.other_prompt,
            options.other_resource,
        ),
        denied=options.denied_tool,
        server=server,
        by_hand=ByHand(
            revoke=_command(options.revoke),
            limit=_command(options.limit),
            log=None if log is None else lambda: log.read_text(errors="replace"),
            records=None if records is None else lambda: _output(records).splitlines(),
        ),
        rounds=options.rounds,
        pairs=options.pairs,
    )


def _output(command: str) -> str:
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout


def _command(command: str | None) -> Callable[[], None] | None:
    if command is None:
        return None
    given = command

    def run() -> None:
        subprocess.run(given, shell=True, check=True)

    return run


def _sees_its_tools(tenant: Tenant) -> bool:
    clients = entered(tenant.caller)
    return bool(clients) and tenant.shared in names(clients[0])


def _wait(gateway: Gateway, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if all(_sees_its_tools(one) for one in (gateway.one, gateway.other)):
            return
        time.sleep(1)
    told = [one.caller.answers[-1:] for one in (gateway.one, gateway.other)]
    raise SystemExit(f"not both tenants list the tool of both after {seconds:g} s: {told}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
