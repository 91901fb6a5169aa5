"""What a tenant may use of tool servers: patterns, approved definitions and the manifest that holds both."""
