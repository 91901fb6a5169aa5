"""Holds chat calls to the tools of their tenant's manifest."""
