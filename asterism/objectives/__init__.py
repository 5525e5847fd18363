"""Objectives: functions from tensors to one float32 value per sample, [N].

No weights and no reduction over the batch in here: both belong to the recipe's table of terms and the engine.
"""
