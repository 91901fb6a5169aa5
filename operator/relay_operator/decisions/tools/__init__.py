"""What of a ToolServer is approved, and how it and its tenants fare."""
