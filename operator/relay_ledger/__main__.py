"""`python -m relay_ledger`."""

from relay_ledger.main import main

main()
