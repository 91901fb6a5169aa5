"""Reconciliation: what a provider's own report says beside what is booked, and what of the difference has which cause. Pure."""
