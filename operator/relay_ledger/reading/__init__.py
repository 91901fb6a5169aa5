"""Answers what tenants' relays ask of their own use, and takes credit: never of anybody else, bounded in size and number."""
