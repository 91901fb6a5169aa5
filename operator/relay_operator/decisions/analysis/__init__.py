"""The analysis of a canary: counters from samples, evidence from counters, a verdict from evidence."""
