"""Measures the operator itself: how it fares with the API server, relays, Prometheus and its own event loop."""
