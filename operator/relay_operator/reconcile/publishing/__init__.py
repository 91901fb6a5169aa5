"""Parts of a tenant's document, and the pods' progress with it."""
