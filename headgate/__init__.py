"""Headgate pulls records by id from rate-limited APIs: durable, prioritised, never over quota."""

__version__ = "0.1.0"
