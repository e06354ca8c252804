"""The command ``bilevel`` as ``python -m bilevel``."""

import sys

from bilevel import _core


def main() -> int:
    """Do what the command line asks for.

    Returns
    -------
    int
        The exit code.
    """
    return _core.command(["bilevel", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
