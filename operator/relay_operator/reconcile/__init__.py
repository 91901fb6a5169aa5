"""Brings each object to what its spec asks for: reconcilers, their queue and their view of the cluster."""
