"""`python -m clicksmith ...`: the command line, where the script `clicksmith` is not on the path."""

import sys

from clicksmith.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
