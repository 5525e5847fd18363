"""Serving: an HTTP API for trained models. A leaf: only its command imports it."""
