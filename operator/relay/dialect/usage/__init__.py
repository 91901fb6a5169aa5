"""Tokens as they are billed: each API's own convention turned into disjoint buckets, once, with every number checked."""
