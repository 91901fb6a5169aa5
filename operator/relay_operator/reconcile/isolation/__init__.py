"""Measures the isolation of tenants, and keeps what was found."""
