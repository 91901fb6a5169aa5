"""Metrics of the objects that the operator reconciles."""
