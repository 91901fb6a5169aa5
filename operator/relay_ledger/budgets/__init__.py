"""Budgets and credit: what a tenant may spend, what relay pods have leased of it, and when somebody is warned."""
