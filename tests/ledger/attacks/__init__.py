"""What callers and outages can do to a ledger that serves."""
