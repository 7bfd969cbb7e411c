"""Alerting: rules are evaluated, incidents open and close, notifications go through an outbox to channels."""
