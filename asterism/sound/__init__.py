"""Recordings: read, written, and turned into log-mels and back."""
