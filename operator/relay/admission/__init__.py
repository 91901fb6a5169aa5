"""Admission of calls: rate limits, provider quotas, the fair queue."""
