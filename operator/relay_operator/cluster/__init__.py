"""The only package that talks to the API server, the relays and Prometheus."""
