"""Tells Prometheus which relays to scrape."""
