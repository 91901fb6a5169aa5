"""kind's command line: arguments, configuration file, one function per command."""
