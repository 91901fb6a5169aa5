"""The pod's parts of the tenant's limits: leased from the ledger ahead of need, and divided among the workers."""
