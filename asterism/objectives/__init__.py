"""Objectives: functions from tensors to one value per sample, [N]: float32, or float64 for inputs in float64.

No weights and no reduction over the batch in here: both belong to the recipe's table of terms and the engine.
"""
