"""Closes what was left open, takes new tokens, drops old months: the ledger's work without a request."""
