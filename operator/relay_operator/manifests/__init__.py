"""Pure builders: a tenant and the platform in, Kubernetes objects out."""
