"""The plugin as a module and as a zipapp."""

import sys

from kubectl_relay.main import main

sys.exit(main(sys.argv[1:]))
