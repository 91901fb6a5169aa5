"""Holds chat calls to a manifest: the tools that a call offers a model, and those that a model calls."""
