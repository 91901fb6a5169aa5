"""The ledger as tenants meet it: what their relays deliver by, and what their prices are."""
