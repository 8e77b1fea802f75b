"""`python -m omnibind.cli` is `omnibind`."""

import sys

from omnibind.cli import main

if __name__ == "__main__":
    sys.exit(main())
