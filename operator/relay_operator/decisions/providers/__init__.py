"""Decisions about Providers as the routes of tenants use them: whom one is open to, and how what its models can do compares."""
