"""Single attempts, and lines that became none."""
