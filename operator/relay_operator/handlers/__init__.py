"""kopf registrations: each event updates the watched state and enqueues, nothing else."""
