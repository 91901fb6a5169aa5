"""Pure texts: a view as lines for a terminal of some width."""
