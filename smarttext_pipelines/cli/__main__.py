"""``python -m smarttext_pipelines.cli``."""

from smarttext_pipelines.cli import main

main()
