"""Pauses after which a tenant is looked at again, in seconds, where no watch tells of a change."""

LOOK_AGAIN_SECONDS = 1.0
NAMESPACE_SECONDS = 10.0
"""Namespaces of others are not watched: one that stands in the way is looked at again after this."""
