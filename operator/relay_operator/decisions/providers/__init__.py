"""Decisions about Providers as the routes of tenants use them."""
