"""The relays of all tenants together, kept up at the cost of what changes."""
