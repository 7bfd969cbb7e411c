"""Who may do what: the public roles, the optional roles, and who really writes."""
