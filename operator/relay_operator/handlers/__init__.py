"""The watches and their handlers: each event updates the watched state and enqueues, nothing else."""
