"""Closes what was left open, takes new prices and tokens, drops old months: the ledger's work without a request."""
