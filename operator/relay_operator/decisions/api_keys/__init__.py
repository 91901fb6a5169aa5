"""API keys of a tenant: how old they are, when they are replaced, what a person asked for."""
