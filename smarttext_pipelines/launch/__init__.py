"""Starting things: the databases a command works with, and the processes of ``smarttext up``."""
