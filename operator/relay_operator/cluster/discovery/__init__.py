"""What Prometheus is told of relays to scrape."""
