"""Evaluation: named protocols that measure a trained model on held-out pictures, with reference rows."""
