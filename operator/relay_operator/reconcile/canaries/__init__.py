"""Watches over the canaries that are in use: what Prometheus shows, what breakers tell, and the moves that follow."""
