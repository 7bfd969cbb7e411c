"""Clients of other companies' APIs, as this project wants them: where, how long, how often."""
