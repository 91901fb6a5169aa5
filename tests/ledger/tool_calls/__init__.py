"""Tool calls in the ledger, on both databases."""
