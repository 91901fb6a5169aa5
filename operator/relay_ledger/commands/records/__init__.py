"""Commands that list single records: attempts, calls of tools, and lines that became neither."""
