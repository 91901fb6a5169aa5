"""Admits what a tenant asks of tool servers."""
