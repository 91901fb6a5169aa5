"""The data plane: one tenant's relay process. Imports neither kopf nor the control plane."""
