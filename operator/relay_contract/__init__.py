"""What the processes agree on: the document, its seal, ports, paths and mounts. Imports nothing of ours."""
