"""Prometheus, or what speaks its HTTP API (Thanos, Mimir), behind one adapter on prometheus-api-client."""
