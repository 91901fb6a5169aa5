"""When a call may go: rate limits, provider quotas, the fair queue."""
