"""The command line of relay-operator. Without a command it operates, as its environment says."""

import argparse
import asyncio
import re
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from importlib import metadata
from typing import Any, Final

from pydantic import ValidationError
from pydantic_settings import SettingsError

from relay_operator.commands import crds, release, trial
from relay_operator.errors import OperatorError, SettingsUnusable
from relay_operator.settings import Settings

_PREFIX: Final = "OPERATOR_"
_NAME: Final = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")
_DISTRIBUTION: Final = "relay-operator"
_DESCRIPTION: Final = """\
Gives each tenant of an AI API platform its own relay and moves its traffic between providers by measured canaries. Without a
command it operates until it is told to end, with the ServiceAccount of its pod, or with the kubeconfig's current context.
"""
NOT_DONE: Final = 1
WRONGLY_CALLED: Final = 2
"""Exit codes: what was asked for could not be done; arguments or environment cannot be used."""

Command = Callable[[], Coroutine[Any, Any, int]]


def version() -> str:
    """Returns the version that is installed."""
    try:
        return metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "of a checkout, not installed"


def parse(arguments: Sequence[str]) -> Command | None:
    """Returns the command that is asked for, None to operate; exits for --help, --version and what is no command."""
    chosen = _parser().parse_args(arguments)
    match chosen.command:
        case "release":
            return lambda: release.run(chosen.tenant)
        case "crds":
            return lambda: crds.run(chosen.directory)
        case "trial":
            wanted = trial.Trial(
                tenant=chosen.tenant,
                namespace=chosen.namespace,
                service=chosen.service,
                port=chosen.port,
                seconds=chosen.seconds,
            )
            return lambda: trial.run(wanted)
        case _:
            return None


def execute(command: Command) -> int:
    """Runs a command; returns its exit code, and says what went wrong."""
    try:
        return asyncio.run(command())
    except OperatorError as error:
        print(f"not done: {error}", file=sys.stderr)  # noqa: T201 - the answer of the command
        return NOT_DONE


def settings() -> Settings:
    """Reads the settings from the process's environment. Raises SettingsUnusable that names every variable that is wrong."""
    try:
        return Settings()
    except SettingsError as error:
        # of a variable that is to hold JSON; its words name the field
        named = re.search(r'"(\w+)"', str(error))
        field = _variable(named[1]) if named else "a setting"
        raise SettingsUnusable(f"{field}: its value is no JSON") from error
    except ValidationError as error:
        raise SettingsUnusable("\n".join(_problems(error))) from error


def unknown(environment: Mapping[str, str]) -> list[str]:
    """Names the variables that look like settings and are none: a misspelt one has no effect."""
    known = {_variable(field) for field in Settings.model_fields}
    return sorted(
        name for name in environment if name.startswith(_PREFIX) and name.upper() not in known
    )


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for one in error.errors(include_url=False, include_input=False):
        field, *rest = [str(part) for part in one["loc"]] or [""]
        where = ".".join([_variable(field), *rest]) if field else "the settings"
        lines.append(f"{where}: {_by_variables(one['msg'].removeprefix('Value error, '))}")
    return lines


def _by_variables(text: str) -> str:
    """Puts the variables in the place of the settings that a text names: they are what its reader can set."""
    return _NAME.sub(
        lambda found: _variable(found[0]) if found[0] in Settings.model_fields else found[0], text
    )


def _variable(field: str) -> str:
    found = Settings.model_fields.get(field)
    alias = found.validation_alias if found is not None else None
    return alias if isinstance(alias, str) else f"{_PREFIX}{field}".upper()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="relay-operator",
        description=_DESCRIPTION,
        epilog=_settings_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"relay-operator {version()}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    one = commands.add_parser("release", help=release.SUMMARY, description=release.DESCRIPTION)
    one.add_argument("tenant", nargs="*", help="Tenants to release; all of them if none is named")
    one = commands.add_parser("crds", help=crds.SUMMARY, description=crds.DESCRIPTION)
    one.add_argument("directory", metavar="DIRECTORY", help="where the definitions are")
    _add_trial(commands.add_parser("trial", help=trial.SUMMARY, description=trial.DESCRIPTION))
    return parser


def _add_trial(parser: argparse.ArgumentParser) -> None:
    for name, help_ in (
        (
            "--tenant",
            "name of the Tenant and of the Provider; namespace relay-NAME is there to be adopted",
        ),
        ("--namespace", "namespace of this pod"),
        ("--service", "Service there that leads to this pod"),
    ):
        parser.add_argument(name, required=True, help=help_)
    parser.add_argument(
        "--port", type=int, default=8080, help="port of the Service and of this pod"
    )
    parser.add_argument(
        "--seconds", type=float, default=120.0, help="how long a call may take to come through"
    )


def _settings_text() -> str:
    """Lists the settings as --help shows them: variable, default, what it does."""
    lines = [
        "settings, from the environment (the chart sets them from its values); with their defaults:"
    ]
    for name, field in Settings.model_fields.items():
        lines.append(f"  {_variable(name)}={field.default}")
        lines.append(f"      {_by_variables(field.description or '')}")
    return "\n".join(lines)
