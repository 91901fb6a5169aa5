"""The command line of `relay-ledger`."""

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from relay_ledger.commands import (
    alert_commands,
    audit,
    compare_command,
    contract_commands,
    credit_commands,
    price_commands,
    reconcile_command,
    report_command,
    statement_command,
)
from relay_ledger.commands.alert_commands import NobodyKnown
from relay_ledger.commands.credit_commands import CreditRefused
from relay_ledger.commands.past import act_commands, baseline_commands
from relay_ledger.commands.provider_api import ProviderRefused
from relay_ledger.commands.reconcile_command import NothingReported, NotSettled
from relay_ledger.commands.records import attempts_command, quarantine_command, tools_command
from relay_ledger.commands.records.attempts_command import NoSuchAttempt
from relay_ledger.commands.records.quarantine_command import NoSuchLine, NothingChosen
from relay_ledger.commands.statement_command import SeveralPages
from relay_ledger.money.amounts import NotAnAmount
from relay_ledger.periods.divisions import TooManyParts
from relay_ledger.periods.moments import NotATime
from relay_ledger.periods.zones import UnknownZone
from relay_ledger.prices.price_list import InvalidPrices
from relay_ledger.reconciliation.provider_report import UnreadableReport
from relay_ledger.reports.old_history import UnreadableHistory
from relay_ledger.reports.usage_history import BadQuestion
from relay_ledger.settings import Settings
from relay_ledger.statements.statement import NoRate, NotDue
from relay_ledger.store.bills.baseline_store import BaselineRefused
from relay_ledger.store.bills.statement_store import PostingsGone
from relay_ledger.store.contracts import TermsRefused
from relay_ledger.store.databases import DatabaseUnusable
from relay_ledger.store.named_tenants import NoSuchTenant
from relay_ledger.store.schema import NewerSchema

_WRONG_QUESTIONS: Final = (
    *(InvalidPrices, NotAnAmount, NotATime, TooManyParts, UnknownZone),
    *(NoRate, NoSuchTenant, NotDue, PostingsGone, TermsRefused),
    *(UnreadableReport, ProviderRefused, UnreadableHistory),
    *(BadQuestion, CreditRefused, NothingReported, NotSettled, BaselineRefused, NobodyKnown),
    *(SeveralPages, NoSuchAttempt, NoSuchLine, NothingChosen),
)

SECRETS: Final = Path("/etc/relay-ledger/secrets")
"""A file relay_ledger_database there is RELAY_LEDGER_DATABASE, so that a password need not stand in a pod's environment."""


_NAME: Final = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")


class Misconfigured(Exception):
    """A setting that cannot be used; the message names it."""


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0, 1 for what is wrong in what was asked, 2 for settings and the database."""
    options = parser().parse_args(arguments)
    try:
        return _run(options)
    except (*_WRONG_QUESTIONS, OSError) as error:
        return _fail(1, str(error))
    except MemoryError:
        return _fail(1, "it takes more memory than it may have")
    except (Misconfigured, NewerSchema) as error:
        return _fail(2, str(error))
    except DatabaseUnusable as error:
        return _fail(2, f"RELAY_LEDGER_DATABASE: {error}")


def _fail(code: int, message: str) -> int:
    sys.stderr.write(f"relay-ledger: {message}\n")
    return code


def _settings_text() -> str:
    """Lists the settings as --help shows them: variable, default, what it does."""
    fields = Settings.model_fields
    prefix = Settings.model_config["env_prefix"]
    lines = ["settings, from the environment (the chart sets them from its values):"]
    for name, field in fields.items():
        default = " (required)" if field.is_required() else f"={field.default or ''}"
        effect = _NAME.sub(
            lambda found: f"{prefix}{found[0]}".upper() if found[0] in fields else found[0],
            field.description or "",
        )
        lines += [f"  {prefix}{name.upper()}{default}", f"      {effect}"]
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """Builds the parser of every command."""
    whole = argparse.ArgumentParser(
        prog="relay-ledger",
        description="Books what attempts at providers cost and earn, and says so. In the cluster it serves; people run the other commands in its pod.",
        epilog=_settings_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    whole.add_argument("--version", action="version", version=f"relay-ledger {_version()}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="take records from relays until SIGTERM")
    audit.add_arguments(
        commands.add_parser("audit", help="compare sums with what they are the sums of")
    )
    price_commands.add_parsers(commands.add_parser("prices", help="price lists"))
    report_command.add_arguments(
        commands.add_parser("report", help="say what attempts cost and earned")
    )
    tools_command.add_arguments(
        commands.add_parser("tools", help="say who called what of tool servers, and how it ended")
    )
    attempts_command.add_arguments(
        commands.add_parser("attempts", help="list single attempts, by time, tenant or request id")
    )
    quarantine_command.add_arguments(
        commands.add_parser(
            "quarantine", help="list lines that are not booked, and book or dismiss them"
        )
    )
    reconcile_command.add_arguments(
        commands.add_parser("reconcile", help="compare with a provider's usage and cost reports")
    )
    statement_command.add_arguments(
        commands.add_parser("statement", help="say what tenants owe for a month")
    )
    compare_command.add_arguments(
        commands.add_parser("compare", help="say what a month would have cost by another list")
    )
    credit_commands.add_credit(
        commands.add_parser("credit", help="add a payment of a tenant, or tell its balance")
    )
    alert_commands.add_arguments(
        commands.add_parser("alerts", help="list alerts that no receiver took, and send them again")
    )
    baseline_commands.add_parsers(
        commands.add_parser("baseline", help="keep what an old relay served, to compare with")
    )
    act_commands.add_arguments(
        commands.add_parser("acts", help="list what people had the ledger change")
    )
    commands.add_parser(
        "payments-token", help="write the token by which payment systems add credit"
    )
    contract_commands.add_terms(
        commands.add_parser("terms", help="say what zone and currency a tenant's statements have")
    )
    contract_commands.add_rates(
        commands.add_parser("rates", help="say what a currency is worth, since when")
    )
    return whole


def _version() -> str:
    try:
        return metadata.version("relay-operator")
    except metadata.PackageNotFoundError:
        return "unknown, it runs from sources that are not installed"


def _run(options: argparse.Namespace) -> int:
    if options.command == "prices" and price_commands.run_offline(options):
        return 0
    settings = _settings()
    match options.command:
        case "serve":
            # the servers' libraries are an eighth of the start of those commands that do without
            from relay_ledger.commands.serve import serve

            serve(settings)
        case "prices":
            price_commands.run(options, settings.database.get_secret_value())
        case "payments-token":
            return credit_commands.run_token(settings)
        case "statement":
            return statement_command.run(options, settings)
        case "quarantine":
            return quarantine_command.run(options, settings)
        case name:
            return _READERS[name](options, settings.database.get_secret_value())
    return 0


_READERS: Final[Mapping[str, Callable[[argparse.Namespace, str], int]]] = {
    "acts": act_commands.run,
    "alerts": alert_commands.run,
    "attempts": attempts_command.run,
    "baseline": baseline_commands.run,
    "audit": audit.run,
    "reconcile": reconcile_command.run,
    "compare": compare_command.run,
    "credit": credit_commands.run_credit,
    "report": report_command.run,
    "terms": contract_commands.run_terms,
    "rates": contract_commands.run_rates,
    "tools": tools_command.run,
}


def _settings() -> Settings:
    try:
        # the required ones come from the environment, or from files named like them
        return Settings(_secrets_dir=SECRETS if SECRETS.is_dir() else None)  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        message = first["msg"].removeprefix("Value error, ")
        raise Misconfigured(f"RELAY_LEDGER_{name}: {message}" if name else message) from None
