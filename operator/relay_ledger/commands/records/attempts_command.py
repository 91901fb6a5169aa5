"""`relay-ledger attempts`: single attempts, by whom, where they went, how they ended, or under which request id."""

import argparse
import re
import sys
from typing import Final, get_args

from relay_contract.billing.attempt_event import AttemptOutcome
from relay_ledger.commands.report_options import (
    add_time,
    label,
    not_a_place,
    number_to,
    record_id,
    tell_following,
    time_of,
)
from relay_ledger.reports.attempts import (
    IN_FLIGHT,
    SWEPT,
    attempts_csv,
    attempts_json,
    attempts_table,
)
from relay_ledger.store.attempts.attempt_reading import Asked, AttemptReading, Page, Place
from relay_ledger.store.named_tenants import uid_of
from relay_ledger.store.opening.opened import opened

_MOST: Final = 10_000
_FIELDS: Final = {
    "route": "route",
    "side": "side",
    "key": "keyName",
    "provider": "provider",
    "request_id": "requestId",
    "call_id": "callId",
}
"""An option that is a field of the record, and the name of that field in a line."""
_OUTCOMES: Final = (*get_args(AttemptOutcome), IN_FLIGHT, SWEPT)
_PLACE: Final = re.compile(r"([0-9]{1,18})/([0-9A-Za-z_-]{1,96})/([0-9a-f]{32})")


class NoSuchAttempt(LookupError):
    """An id that the ledger has no attempt of; the message says what that may mean."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the time, what is asked for, how many, and the form."""
    add_time(parser)
    parser.add_argument("--id", type=record_id, help="this attempt; needs no time")
    parser.add_argument("--tenant", metavar="UID_OR_NAME", help="of this tenant alone")
    for name in _FIELDS:
        option = name.replace("_", "-")
        parser.add_argument(f"--{option}", type=label, metavar=name.upper(), help=_HELP.get(name))
    parser.add_argument(
        "--model", type=label, help="that the caller named, the provider was asked for, or answered"
    )
    parser.add_argument(
        "--outcome", choices=_OUTCOMES, metavar="OUTCOME", help=", ".join(_OUTCOMES)
    )
    parser.add_argument(
        "--unpriced", action="store_true", help="those that have no price, of either account"
    )
    parser.add_argument(
        "--limit",
        type=number_to(_MOST),
        default=100,
        help=f"at most so many, up to {_MOST}; 100 if left",
    )
    parser.add_argument(
        "--after",
        type=_place,
        metavar="PLACE",
        help="those that follow: what the answer before this one named",
    )
    parser.add_argument("--format", choices=["table", "csv", "json"], default="table")


_HELP: Final = {
    "request_id": "what the caller sent as X-Request-ID",
    "call_id": "all attempts of one call",
    "key": "the name of the API key",
    "side": "stable, canary, fallback, shadow or preflight",
}


def _place(value: str) -> Place:
    found = _PLACE.fullmatch(value)
    if found is None:
        raise not_a_place(value)
    return int(found[1]), found[2], found[3]


def run(options: argparse.Namespace, address: str) -> int:
    """Writes the attempts, and where to go on; raises NotATime, NoSuchTenant, NoSuchAttempt."""
    asks_for_time = options.month or options.start or options.end
    start, end = time_of(options) if asks_for_time or options.id is None else (None, None)
    with opened(address) as engine:
        asked = Asked(
            start=start,
            end=end,
            tenant_uid=None if options.tenant is None else uid_of(engine, options.tenant),
            event_id=options.id,
            fields=_named(options),
            model=options.model,
            outcome=options.outcome,
            unpriced=options.unpriced,
        )
        page = AttemptReading(engine).page(asked, most=options.limit, after=options.after)
    if options.id is not None and not page.attempts:
        raise NoSuchAttempt(
            f"the ledger has no such attempt {options.id}: it has not been delivered, is in quarantine, or its month is no longer kept"
        )
    _write(options, page, asked)
    return 0


def _named(options: argparse.Namespace) -> dict[str, str]:
    values = {written: getattr(options, name) for name, written in _FIELDS.items()}
    return {written: value for written, value in values.items() if value is not None}


def _write(options: argparse.Namespace, page: Page, asked: Asked) -> None:
    following = None if page.following is None else "{}/{}/{}".format(*page.following)
    match options.format:
        case "json":
            text = attempts_json(
                page.attempts, start=asked.start, end=asked.end, following=following
            )
        case "csv":
            text = attempts_csv(page.attempts)
        case _:
            text = attempts_table(page.attempts)
    sys.stdout.write(text)
    if following is not None and options.format != "json":
        tell_following(following)
