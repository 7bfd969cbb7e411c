"""Notifications: how an incident reads, and the outbox that sends it once."""
