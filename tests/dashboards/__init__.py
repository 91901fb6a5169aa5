"""The chart's dashboards for Grafana, generated in Grafana's own types: `python -m tests.dashboards` writes them."""
