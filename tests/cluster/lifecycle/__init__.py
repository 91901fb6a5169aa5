"""Creating and deleting clusters: checks of the machine, certificates, start-up."""
