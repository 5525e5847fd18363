"""Settings of small runs on packed data."""

from __future__ import annotations

TINY = {
    "recipe.conv_dim": 4,
    "recipe.num_blocks": 1,
    "recipe.discriminator_conv_dim": 4,
    "recipe.discriminator_layers": 3,
    "recipe.critic_steps": 2,
    "data.size": 24,  # The drawn pictures have 32 pixels: they are resized.
    "train.batch_size": 4,
    "train.steps": 4,
    "train.decay_steps": 2,
    "train.log_every": 2,
    "train.precision": "float32",
}
