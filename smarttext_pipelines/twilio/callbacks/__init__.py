"""Twilio's status callbacks over HTTP: an ASGI application with one route, written through the tracking library."""

from smarttext_pipelines.twilio.callbacks.application import MAX_BYTES, Receiver

__all__ = ["MAX_BYTES", "Receiver"]
