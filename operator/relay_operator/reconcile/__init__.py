"""Reconcilers, which bring each object to what its spec asks for, their queue and the watched state."""
