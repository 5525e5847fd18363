"""Inference: a trained model at work, and published checkpoints in and out. Loads without the engine."""
