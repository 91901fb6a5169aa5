"""`relay-ledger`: books what attempts cost and earn. Configured by RELAY_LEDGER_* (relay_ledger.settings)."""

import gc
import sys


def main() -> None:
    """Runs a command, and exits with its code; says so where the libraries of the ledger are not installed."""
    # what is imported stays: to look through it for cycles again and again takes a fifth of the start
    gc.disable()
    try:
        from relay_ledger.commands import command_line
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("relay"):
            raise
        sys.stderr.write(
            f"relay-ledger: {error.name} is not installed; the ledger needs relay-operator[ledger]\n"
        )
        sys.exit(2)
    gc.freeze()
    gc.enable()
    sys.exit(command_line.main(sys.argv[1:]))
