"""Connections to providers as they are made: names and addresses, proxies, and what is shown to whom."""
