"""Runs as others see them: what a folder holds, and what was measured."""
