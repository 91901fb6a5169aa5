"""What the ledger tells, as conditions."""
