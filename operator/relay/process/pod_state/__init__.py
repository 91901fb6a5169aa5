"""States of the pod that its workers report and its admin port tells of, as they change."""
