"""Pages of HTML that print and are read without a network: no script, nothing fetched, every text of others escaped."""
