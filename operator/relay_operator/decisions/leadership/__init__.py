"""Decides which of several operators acts from what a Lease showed, with the clock as an argument."""
