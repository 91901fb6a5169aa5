"""Chooses the compiled class that writes records where it is built, as in the image, and that in Python elsewhere."""

try:
    from relay.outbox._record_writing import Place
except ModuleNotFoundError:
    from relay.outbox.record_writing_pure import Place

__all__ = ("Place",)
