"""The limit of open files that a process has, which bounds its connections."""

import resource


def raise_descriptor_limit() -> int:
    """Raises the soft limit of descriptors to the hard one, and returns it: the soft one is often 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 2**20
