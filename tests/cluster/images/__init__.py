"""Container images without Docker: layers written by us, put together as OCI archives.

Nothing here needs a registry or a daemon. Layers are deterministic (sorted entries, fixed times and owners) and cached
by their inputs, so a change of source rebuilds one small layer.
"""
