"""Forms of reports: what tenants and the platform read of sums, as JSON, CSV and FOCUS. Every amount is exact, as text."""
