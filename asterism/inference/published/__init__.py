"""Published checkpoints: a file per system, and the way in and out."""
