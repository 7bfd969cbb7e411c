"""What rules can watch: each metric is measured for all scopes and windows at once."""
