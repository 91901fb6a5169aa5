"""`relay-ledger`: books what attempts cost and earn. Configured by RELAY_LEDGER_* (relay_ledger.settings)."""

import sys


def main() -> None:
    """Runs a command, and exits with its code; says so where the libraries of the ledger are not installed."""
    try:
        from relay_ledger.commands import command_line
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("relay"):
            raise
        sys.stderr.write(
            f"relay-ledger: {error.name} is not installed; the ledger needs relay-operator[ledger]\n"
        )
        sys.exit(2)
    sys.exit(command_line.main(sys.argv[1:]))
