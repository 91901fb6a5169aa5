"""The record of an attempt at a provider, as relays write it and the ledger books it."""
