"""Incidents: one episode of a rule and a scope, from its first breach to its end."""
