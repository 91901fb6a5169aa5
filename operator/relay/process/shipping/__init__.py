"""Delivers the records of the outbox to the ledger, in a process of its own: no call waits for it, and it may wait for disk and DNS."""
