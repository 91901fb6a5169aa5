"""What a document has of tool servers."""
