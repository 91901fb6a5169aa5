"""The tenants that a worker serves, and who calls for them."""
