"""Periods: the months of a contract in its time zone, half open, and the parts of a time that a report shows."""
