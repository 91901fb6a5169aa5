"""Ledgers that tests speak to."""
