"""The order in which the pages' commands are pasted into one cluster, from an empty one to an empty one, and what is the reader's own.

tests/e2e/test_written_pages.py pastes them.
"""

from typing import Final

from tests.pages.blocks import Fate, blocks_of, pages

RUNBOOKS: Final = tuple(
    page
    for page in pages()
    if page.startswith("docs/runbooks/")
    and any(block.fate is Fate.CLUSTER for block in blocks_of(page))
)
PAGES: Final = (
    "README.md",
    "examples/14-prometheus/README.md",
    "docs/how-to/first-tenant.md",
    "examples/02-canary/README.md",
    "examples/03-ten-percent/README.md",
    "examples/04-every-four-hours/README.md",
    "examples/05-single-jump/README.md",
    "examples/06-manual-approval/README.md",
    "examples/07-provider-outage/README.md",
    "examples/08-evacuation/README.md",
    "docs/kubectl-relay.md",
    "examples/09-shadow-first/README.md",
    "docs/how-to/first-migration.md",
    "docs/troubleshooting.md",
    *RUNBOOKS,
    "examples/10-key-rotation/README.md",
    "docs/api-keys.md",
    "docs/tenancy.md",
    "docs/how-to/tls.md",
    "docs/how-to/without-the-relay.md",
    "examples/11-one-file/README.md",
    "examples/12-gitops/README.md",
    "examples/13-cert-manager/README.md",
    "examples/15-tools/README.md",
    "examples/16-billing/README.md",
    "docs/metrics.md",
    "docs/alerts.md",
    "docs/webhook.md",
    "docs/how-to/upgrade.md",
    "examples/01-first-tenant/README.md",
    "docs/how-to/uninstall.md",
)

REGISTRY: Final = "registry.example.com/platform"
YOURS: Final = {
    "REGISTRY": REGISTRY,
    "LEGACY_KEY": "provider-key-of-legacy",
    "HOLYSHEEP_KEY": "provider-key-of-holysheep",
    "PROVIDER_URL": "http://legacy.providers.svc/v1",
    "PROVIDER_KEY": "provider-key-of-legacy",
    "NAMESPACE": "relay-finance",
    "ROUTE": "chat",
    "TENANT": "finance",
}
"""What the blocks that are marked `yours` set, as it is in the tests' cluster."""

IMAGES: Final = {
    "relay-operator:dev": f"{REGISTRY}/relay-operator:0.1.0",
    "prometheus:dev": "docker.io/prom/prometheus:v3.5.0",
}
"""Images of the tests by the names that the pages have for them."""
