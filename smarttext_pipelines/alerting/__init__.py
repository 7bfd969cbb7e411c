"""Alerting: rules are evaluated, incidents open and close, what is told of them goes through an outbox to channels."""
