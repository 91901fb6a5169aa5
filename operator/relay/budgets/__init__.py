"""Money: what a call is expected to cost, what this worker may spend without asking anybody, and what one session may."""
