"""Takes records from relays over HTTP: each for the tenant whose token it shows, and answered once they are on disk."""
