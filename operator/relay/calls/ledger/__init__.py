"""The way to the ledger for questions of a tenant's own use."""
