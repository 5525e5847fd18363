"""Files: written whole, the run folder, the model file."""
