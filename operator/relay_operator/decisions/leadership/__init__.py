"""Which of several operators acts: decided from what a Lease showed, with the clock as an argument."""
