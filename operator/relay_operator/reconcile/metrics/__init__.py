"""What Prometheus reads of the objects that the operator reconciles."""
