"""Requests for a tenant's own use, which the ledger answers. No call waits for it."""
