"""Chooses the compiled function that writes most lines where it is built, as in the image."""

try:
    from relay.outbox._plain_lines import plain_line
except ModuleNotFoundError:
    from relay.outbox.plain_lines_pure import plain_line

__all__ = ("plain_line",)
