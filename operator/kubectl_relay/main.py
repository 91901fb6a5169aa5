"""Runs a command and prints what it hands back."""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from kubectl_relay import arguments, completion
from kubectl_relay.cluster.kubectl import Kubectl
from kubectl_relay.commands import probing, reading, writing
from kubectl_relay.commands.shown import Shown
from kubectl_relay.commands.targets import Place
from kubectl_relay.errors import PluginError
from kubectl_relay.texts.screen import Screen
from kubectl_relay.version import VERSION
from kubectl_relay.views import changes

COMPLETE: Final = "__complete"


def main(argv: Sequence[str]) -> int:
    """Returns the exit code: 0, 1 for an error or a probe that failed, 2 for a wrong command line."""
    try:
        if argv[:1] == [COMPLETE]:
            for line in completion.lines(argv[1:]):
                print(line)  # noqa: T201 - the answer
            return 0
        return _run(argv)
    except PluginError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - as kubectl says it
        return 1
    except BrokenPipeError:
        # whoever read the output has enough of it; there is nobody to be told at the exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _run(argv: Sequence[str]) -> int:
    options = arguments.parser(VERSION).parse_args(argv)
    # one moment, of whole seconds as texts tell them: what is reckoned from it is not shown as a second ago
    now = float(int(time.time()))
    shown = _shown(Kubectl(arguments.forwarded(options)), options, now)
    if options.output == "json":
        print(json.dumps(shown.data, indent=2))  # noqa: T201 - the answer
    else:
        for line in shown.text(_screen(now)):
            print(line)  # noqa: T201 - the answer
    sys.stdout.flush()
    return shown.exit_code


def _shown(kubectl: Kubectl, options: argparse.Namespace, now: float) -> Shown:
    command, name = options.command, options.target
    place = Place(namespace=options.namespace, tenant=getattr(options, "tenant", ""))
    if command in arguments.WRITING_COMMANDS:
        wanted = (
            partial(changes.retry, force=options.force)
            if command == "retry"
            else changes.CHANGES[command]
        )
        return writing.write(kubectl, name, place, wanted, dry_run=options.dry_run)
    match command:
        case "why":
            return reading.why(kubectl, name, place)
        case "plan":
            return reading.plan(kubectl, name, place, now)
        case "keys":
            return reading.keys(kubectl, name, place, options.show)
        case "probe":
            return probing.probe(kubectl, name, place, options.model)
        case _:
            return reading.status(kubectl, name, place)


def _screen(now: float) -> Screen:
    """Describes the terminal; without one the width is that of COLUMNS or 100, and there are no colours."""
    is_terminal = sys.stdout.isatty()
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Screen(
        width=shutil.get_terminal_size((100, 24)).columns,
        has_colour=is_terminal and not plain,
        now=now,
    )
