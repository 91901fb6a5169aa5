"""Agreement between the processes: the document, its seal, ports, paths and mounts. Imports nothing of ours."""
