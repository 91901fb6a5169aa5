"""What tenants are sent: statements on real databases."""
