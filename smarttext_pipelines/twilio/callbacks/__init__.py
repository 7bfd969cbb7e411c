"""Twilio's status callbacks over HTTP: an ASGI application with one route, written through the tracking library."""

from smarttext_pipelines.twilio.callbacks.application import MOST_BYTES, Receiver

__all__ = ["MOST_BYTES", "Receiver"]
