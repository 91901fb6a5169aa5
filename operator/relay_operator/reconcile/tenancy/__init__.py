"""The reconcile of a Tenant: its namespace, everything in it, its calls that are refused, and what is reported of it."""
