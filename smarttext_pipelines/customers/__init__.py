"""The people whom businesses text."""
