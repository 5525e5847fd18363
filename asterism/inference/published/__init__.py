"""Published checkpoints: import and export, one file per system."""
