"""What is counted and reported: metrics, SLO counters, usage events, logs."""
