"""Connections of the operator to others: why one gave no answer."""
