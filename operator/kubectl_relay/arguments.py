"""The command line of the plugin."""

import argparse
from typing import Final

COMMANDS: Final = {
    "status": "show a tenant and its routes on one screen; without a name, list all tenants",
    "why": "show what moved a route, and on what evidence",
    "plan": "show the next steps of a route, and the earliest time of each",
    "approve": "approve the current step of a canary (progression.approval: Manual)",
    "retry": "try a rolled-back canary again, or resume a frozen one",
    "pause": "stop the canary's weight from rising (spec.paused: true)",
    "resume": "end a pause (spec.paused: false)",
    "back": "return all traffic to stable at once (spec.canary.percent: 0)",
    "keys": "show how to call a tenant: its address, the names of its keys, who may call",
    "probe": "check a tenant: what the operator measured, and a call through its relay",
}
TENANT_COMMANDS: Final = frozenset({"status", "keys", "probe"})
WRITING_COMMANDS: Final = frozenset({"approve", "retry", "pause", "resume", "back"})
FORWARDED: Final = ("context", "kubeconfig", "cluster", "user", "as", "request-timeout")
"""Options of kubectl that are handed on to it as they are."""

_DESCRIPTION = """\
Shows tenants and routes of Relay Operator from their status, and writes the annotations and fields that decide about canaries.
It runs kubectl for everything, so it uses the context of your kubeconfig and has your rights.
"""


def parser(version: str) -> argparse.ArgumentParser:
    """Builds the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="kubectl relay", description=_DESCRIPTION, allow_abbrev=False
    )
    top.add_argument("--version", action="version", version=f"kubectl relay {version}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_ in COMMANDS.items():
        one = commands.add_parser(name, help=help_, description=help_, allow_abbrev=False)
        if name in TENANT_COMMANDS:
            one.add_argument("target", nargs="?", default="", metavar="TENANT")
        else:
            one.add_argument("target", metavar="ROUTE", help="ROUTE or TENANT/ROUTE")
            one.add_argument("-t", "--tenant", default="", help="the tenant of the route")
        _own_options(one, name)
        _shared_options(one)
    return top


def forwarded(options: argparse.Namespace) -> tuple[str, ...]:
    """Returns the options for kubectl."""
    given = ((name, getattr(options, name.replace("-", "_"))) for name in FORWARDED)
    groups = tuple(f"--as-group={group}" for group in options.as_group)
    return (*(f"--{name}={value}" for name, value in given if value), *groups)


def _own_options(one: argparse.ArgumentParser, name: str) -> None:
    if name == "retry":
        one.add_argument("--force", action="store_true", help="do not wait until coolDown is over")
    if name in WRITING_COMMANDS:
        one.add_argument(
            "--dry-run", action="store_true", help="only check the change, write nothing"
        )
    if name == "keys":
        one.add_argument("--show", default="", metavar="KEY", help="print only this key")
    if name == "probe":
        one.add_argument(
            "--model",
            default="",
            help="also send a chat call of one token for this model, which is billed",
        )


def _shared_options(one: argparse.ArgumentParser) -> None:
    one.add_argument("-n", "--namespace", default="", help="the tenant's namespace")
    one.add_argument("-o", "--output", choices=("text", "json"), default="text")
    for name in FORWARDED:
        one.add_argument(f"--{name}", default="", help="as for kubectl")
    one.add_argument("--as-group", action="append", default=[], help="as for kubectl")
