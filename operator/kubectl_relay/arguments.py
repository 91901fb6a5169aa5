"""The command line of the plugin."""

import argparse
from typing import Final

COMMANDS: Final = {
    "status": "the story of a tenant and its routes on one screen; of all tenants in a list",
    "why": "what moved a route, and on which evidence",
    "plan": "the next steps of a route, and when they come at the earliest",
    "approve": "let the canary's present step pass (progression.approval: Manual)",
    "retry": "try a rolled-back canary again, or let a frozen one go on",
    "pause": "keep the canary's weight from rising (spec.paused: true)",
    "resume": "end a pause (spec.paused: false)",
    "back": "return all traffic to stable at once (spec.canary.percent: 0)",
    "keys": "how a tenant is called: its address, its keys by name, who may call",
    "probe": "what was measured of a tenant, and a call through its relay",
}
TENANT_COMMANDS: Final = frozenset({"status", "keys", "probe"})
WRITING_COMMANDS: Final = frozenset({"approve", "retry", "pause", "resume", "back"})
FORWARDED: Final = ("context", "kubeconfig", "cluster", "user", "as", "request-timeout")
"""Options of kubectl that are handed on to it as they are."""

_DESCRIPTION = """\
Shows tenants of the relay-operator and their routes as their status tells, and writes the annotations and fields by which a
person decides. It asks kubectl for everything, so it has your kubeconfig's context and your rights.
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
            one.add_argument("-t", "--tenant", default="", help="the tenant whose route it is")
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
        one.add_argument("--dry-run", action="store_true", help="have it checked, write nothing")
    if name == "keys":
        one.add_argument("--show", default="", metavar="KEY", help="print this key and no more")
    if name == "probe":
        one.add_argument(
            "--model",
            default="",
            help="also send a chat of one token for this model, which is billed",
        )


def _shared_options(one: argparse.ArgumentParser) -> None:
    one.add_argument("-n", "--namespace", default="", help="the tenant's namespace")
    one.add_argument("-o", "--output", choices=("text", "json"), default="text")
    for name in FORWARDED:
        one.add_argument(f"--{name}", default="", help="as of kubectl")
    one.add_argument("--as-group", action="append", default=[], help="as of kubectl")
