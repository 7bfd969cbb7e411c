"""The command line: thin. A user's mistake is one line on standard error and exit code 2, never a traceback."""

import sys


def main() -> None:
    """Run ``smarttext``."""
    from smarttext_pipelines.cli.main import run

    sys.exit(run())
