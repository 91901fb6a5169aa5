"""Changes of many tenants' relays by the platform: how many at once, and when to stop."""
