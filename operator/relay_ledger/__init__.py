"""The ledger: books every attempt at a provider once, in exact money."""
