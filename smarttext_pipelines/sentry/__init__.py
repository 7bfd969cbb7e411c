"""Failures reported to Sentry, and logs without numbers, texts and keys."""
