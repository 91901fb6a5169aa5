"""What the program relay-operator does beside operating: commands for people and for the chart's Jobs."""
