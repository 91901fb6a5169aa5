"""What is known of a tenant's relay pods: the certificate they serve, and why one is missing."""
