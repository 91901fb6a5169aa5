"""Reports, statements, reconciliation and comparisons, on both databases."""
