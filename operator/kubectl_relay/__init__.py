"""kubectl relay: the story of tenants and their routes on a terminal, read from status through the user's own kubectl.

It is shipped as one file that runs with the standard library of Python 3.11 alone.
"""
