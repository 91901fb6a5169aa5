"""The ledger: tokens of relays, prices in force, and what it tells."""
