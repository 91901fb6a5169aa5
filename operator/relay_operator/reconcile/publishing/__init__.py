"""What becomes part of a tenant's document."""
