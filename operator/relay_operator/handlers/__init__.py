"""kopf registrations, one file per resource: enqueue and nothing else."""
