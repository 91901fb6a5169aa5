"""Chooses the compiled functions that read bodies where they are built, as in the image, and those in Python elsewhere."""

try:
    from relay.dialect._body_scan import (
        base64_at,
        members,
        plain_answer,
        reports_in_answer,
        scan,
        string_at,
        text_at,
        without,
    )
except ModuleNotFoundError:
    from relay.dialect.body_scan_pure import scan
    from relay.dialect.body_texts_pure import (
        base64_at,
        plain_answer,
        reports_in_answer,
        string_at,
        text_at,
    )
    from relay.dialect.parameter_removal_pure import members, without

__all__ = (
    "base64_at",
    "members",
    "plain_answer",
    "reports_in_answer",
    "scan",
    "string_at",
    "text_at",
    "without",
)
