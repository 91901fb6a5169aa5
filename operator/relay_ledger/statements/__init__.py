"""Statements: what a tenant owes for a period, by lines that sum to the total, and what has changed of former ones."""
