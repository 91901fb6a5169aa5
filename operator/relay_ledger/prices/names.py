"""What the custom resources are called that prices are written as."""

from typing import Final

API_VERSION: Final = "relay-operator.dev/v1alpha1"
