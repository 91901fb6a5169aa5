"""Stands in for _plain_usage.c where that is not built: leaves every usage object to openai_usage, which reads it to the same buckets."""


def plain_usage(usage: object, /) -> bytes | None:
    """Returns the packed usage (BilledUsage.packed) of a usage object of chat completions, None where it is to be read by openai_usage."""
    return None
