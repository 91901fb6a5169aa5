"""Counts and reports: metrics, SLO counters, usage events, logs."""
