"""Inference: use of trained models, import and export of published checkpoints. Does not load the engine."""
