"""Measuring: every metric of every rule for all scopes and windows at once, in one transaction."""
