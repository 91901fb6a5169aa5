"""Preflights: small calls that show whether a canary can be used, before any caller gets it."""
