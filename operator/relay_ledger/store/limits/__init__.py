"""The limits of tenants in the database: what holds, what relay pods have of it, and what was warned of."""
