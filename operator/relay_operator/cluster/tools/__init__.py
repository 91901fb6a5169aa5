"""Questions to tool servers."""
