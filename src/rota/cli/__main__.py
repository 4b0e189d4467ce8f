"""`python -m rota.cli`, which is how a worker starts its processes."""

import sys

from rota.cli import main

sys.exit(main())
