"""What a manifest permits in chat: tools that a call offers a model, and tools that a model calls."""
