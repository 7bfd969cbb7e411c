"""Rights of the public roles and of the optional roles, and which roles really write."""
