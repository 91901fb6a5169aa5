"""Chooses the compiled functions that write records where they are built, as in the image, and those in Python elsewhere."""

try:
    from relay.outbox._record_writing import write_closed, write_opened
except ModuleNotFoundError:
    from relay.outbox.record_writing_pure import write_closed, write_opened

__all__ = ("write_closed", "write_opened")
