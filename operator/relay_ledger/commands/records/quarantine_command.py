"""`relay-ledger quarantine`: lines that are kept apart, and how to have one booked or be done with it."""

import argparse
import re
import sys
import time
from collections.abc import Iterator
from typing import Final

from sqlalchemy import Engine

from relay_ledger.commands.report_options import (
    add_time,
    not_a_place,
    number_to,
    record_id,
    tell_following,
    time_of,
)
from relay_ledger.ingest.batch_lines import Window
from relay_ledger.ingest.quarantine_release import NotReleasable, QuarantineRelease
from relay_ledger.reports.quarantine import (
    KeptLine,
    Place,
    line_page,
    lines_csv,
    lines_json,
    lines_table,
)
from relay_ledger.settings import Settings
from relay_ledger.store.attempts.quarantined_lines import Chosen, QuarantinedLines
from relay_ledger.store.named_tenants import uid_of
from relay_ledger.store.opening.opened import opened

_REASONS: Final = ("unreadable", "conflict", "early", "late", "unbookable")
_MOST: Final = 10_000
_AT_ONCE: Final = 500
_DAY: Final = 86_400 * 1_000_000
_SECOND: Final = 1_000_000
_PLACE: Final = re.compile(r"([0-9]{1,18})/([0-9a-f]{32})/([a-z]{1,20})/([0-9A-Za-z_-]{1,96})")


class NothingChosen(ValueError):
    """Lines that nobody has chosen; the message says how to."""


class NoSuchLine(LookupError):
    """An id of no line; the message names it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds which lines, and what to do with them."""
    add_time(parser)
    parser.add_argument("--tenant", metavar="UID_OR_NAME", help="that this tenant's relays sent")
    parser.add_argument("--reason", choices=_REASONS, help="that are kept apart for this reason")
    parser.add_argument(
        "--id", type=record_id, action="append", default=[], help="this line; may be repeated"
    )
    parser.add_argument(
        "--all", action="store_true", help="those too that were released or dismissed"
    )
    parser.add_argument(
        "--limit", type=number_to(_MOST), default=100, help=f"list at most so many, up to {_MOST}"
    )
    parser.add_argument("--after", type=_place, metavar="PLACE", help="list those that follow")
    parser.add_argument("--format", choices=["table", "csv", "json"], default="table")
    parser.add_argument("--note", default="", help="why it is done, kept with the act")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--show",
        metavar="ID",
        type=record_id,
        help="this line as it came, with all that is known of it",
    )
    what.add_argument(
        "--release",
        action="store_true",
        help="book them now, each once, by the prices of their moment",
    )
    what.add_argument(
        "--dismiss",
        action="store_true",
        help="be done with them: they stay, and are listed and counted no more",
    )


def _place(value: str) -> Place:
    found = _PLACE.fullmatch(value)
    if found is None:
        raise not_a_place(value)
    return int(found[1]), found[2], found[3], found[4]


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Lists lines, or releases or dismisses those that are chosen; returns 1 if one could not be released.

    Who is released or dismissed is an act that `relay-ledger acts` lists. Raises NotATime, NoSuchTenant, NoSuchLine, NothingChosen.
    """
    with opened(settings.database.get_secret_value()) as engine:
        lines, chosen = QuarantinedLines(engine), _chosen(options, engine)
        if options.show is not None:
            _show(lines, options)
        elif options.release:
            _refuse_everything(options, chosen)
            return _release(lines, chosen, options, _releasing(engine, settings))
        elif options.dismiss:
            _refuse_everything(options, chosen)
            _dismiss(lines, chosen, options)
        else:
            _list(lines, chosen, options)
    return 0


def _chosen(options: argparse.Namespace, engine: Engine) -> Chosen:
    asks_for_time = options.month or options.start or options.end
    start, end = time_of(options) if asks_for_time else (None, None)
    equal = {} if options.tenant is None else {"tenant_uid": uid_of(engine, options.tenant)}
    if options.reason is not None:
        equal["reason"] = options.reason
    return Chosen(start, end, equal, options.id, with_ended=options.all)


def _refuse_everything(options: argparse.Namespace, chosen: Chosen) -> None:
    if not chosen.equal and not chosen.digests:
        raise NothingChosen("say which lines: give --id, --tenant or --reason")
    if chosen.with_ended:
        raise NothingChosen("what was released or dismissed stays so: leave --all out")


def _releasing(engine: Engine, settings: Settings) -> QuarantineRelease:
    now = _now()
    window = Window(now - settings.kept_days * _DAY, now + settings.future_seconds * _SECOND)
    return QuarantineRelease(engine, window)


def _each(lines: QuarantinedLines, chosen: Chosen) -> Iterator[KeptLine]:
    """Yields all lines that are chosen, also if they end meanwhile."""
    after: Place | None = None
    found = False
    while True:
        some, more = lines.page(chosen, most=_AT_ONCE, after=after)
        found = found or bool(some)
        yield from some
        if not more:
            break
        after = some[-1].place
    if chosen.digests and not found:
        raise NoSuchLine(f"no line {', '.join(chosen.digests)} is kept apart")


def _release(
    lines: QuarantinedLines,
    chosen: Chosen,
    options: argparse.Namespace,
    releasing: QuarantineRelease,
) -> int:
    booked = repeated = refused = 0
    for one in _each(lines, chosen):
        try:
            is_new = releasing.release(one, now=_now(), note=options.note)
        except NotReleasable as error:
            sys.stderr.write(f"relay-ledger: {one.digest}: {error}\n")
            refused += 1
            continue
        booked, repeated = booked + is_new, repeated + (not is_new)
    sys.stdout.write(f"{booked} booked, {repeated} were booked already, {refused} stay\n")
    return 1 if refused else 0


def _dismiss(lines: QuarantinedLines, chosen: Chosen, options: argparse.Namespace) -> None:
    count = sum(
        lines.finish(one, "dismissed", now=_now(), note=options.note)
        for one in _each(lines, chosen)
    )
    sys.stdout.write(f"{count} lines are dismissed\n")


def _show(lines: QuarantinedLines, options: argparse.Namespace) -> None:
    found, _ = lines.page(Chosen(digests=[options.show], with_ended=True), most=_MOST)
    if not found:
        raise NoSuchLine(f"no line {options.show} is kept apart")
    if options.format == "json":
        sys.stdout.write(lines_json(found, following=None))
    else:
        sys.stdout.write("\n".join(map(line_page, found)))


def _list(lines: QuarantinedLines, chosen: Chosen, options: argparse.Namespace) -> None:
    found, more = lines.page(chosen, most=options.limit, after=options.after)
    following = "{}/{}/{}/{}".format(*found[-1].place) if more else None
    match options.format:
        case "json":
            sys.stdout.write(lines_json(found, following=following))
        case "csv":
            sys.stdout.write(lines_csv(found))
        case _:
            sys.stdout.write(lines_table(found))
    if following is not None and options.format != "json":
        tell_following(following)


def _now() -> int:
    return time.time_ns() // 1000
