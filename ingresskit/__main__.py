"""``python -m ingresskit``: the command line of `ingresskit.app`."""

import sys

from ingresskit.app import main

if __name__ == "__main__":
    sys.exit(main(program="python -m ingresskit"))
