"""Connections that show what the network lets through: relay pods', on request, and the operator's own."""
