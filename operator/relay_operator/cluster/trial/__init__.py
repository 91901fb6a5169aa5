"""The network of a trial: the provider that it leads to, and the call that is to reach it."""
