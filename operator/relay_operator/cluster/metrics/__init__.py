"""What the operator tells about itself: how it fares with the API server, relays, Prometheus and its own event loop."""
