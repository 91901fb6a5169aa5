"""Chooses the compiled scan of request bodies where it is built, as in the image, and the one in Python elsewhere."""

try:
    from relay.dialect._body_scan import scan
except ModuleNotFoundError:
    from relay.dialect.body_scan_pure import scan

__all__ = ("scan",)
