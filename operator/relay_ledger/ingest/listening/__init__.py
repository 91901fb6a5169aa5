"""Connections of the ledger: how many there may be, and for how long each may take what it takes."""
