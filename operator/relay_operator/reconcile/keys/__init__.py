"""API keys of tenants: made, rotated and revoked in their Secrets, and brought into force in the document."""
