"""Rows as they are written: of postings, of lines that are kept apart, many at once."""
