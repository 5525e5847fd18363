"""Serving: a studio page and an HTTP API for trained models. A leaf: nothing else imports it."""
