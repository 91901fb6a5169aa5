"""Adapters: the user's kubectl, its errors, and a call through a forwarded port."""
