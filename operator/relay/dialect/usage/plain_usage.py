"""Chooses the compiled function that reads the usage of most answers where it is built, as in the image."""

try:
    from relay.dialect.usage._plain_usage import plain_usage
except ModuleNotFoundError:
    from relay.dialect.usage.plain_usage_pure import plain_usage

__all__ = ("plain_usage",)
