"""Calls of a tenant while everything that books them is killed again and again; what its providers noted is the referee."""
