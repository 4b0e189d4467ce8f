"""`python -m rota`, for when the script is not on the path."""

import sys

from rota.cli import main

sys.exit(main())
