"""Entry point of the command: reads the command line, runs one command, reports failures and exit codes."""

import os
import signal
import sys

from tests.cluster.cli.arguments import parse, parser
from tests.cluster.cli.commands import COMMANDS
from tests.cluster.errors import ClusterError

INTERRUPTED = 130


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def say_nothing(_: str) -> None:
    """Drops a line of progress, for --quiet; errors are still printed."""


def main(argv: list[str]) -> int:
    """Runs the command; returns kind's exit codes: 0, or 1 with one ERROR line on standard error."""
    options = parse(argv, os.environ)
    if options.verb is None:
        parser(os.environ).print_help()
        return 0
    options.say = say_nothing if options.quiet else say
    # SIGTERM makes create clean up as Ctrl-C does
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return COMMANDS[options.verb, getattr(options, "noun", None)](options)
    except ClusterError as error:
        say(f"ERROR: {error}")
        return 1
    except BrokenPipeError:
        # the reader closed the pipe; the interpreter must not write to it at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
