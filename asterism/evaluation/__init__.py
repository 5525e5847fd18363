"""What a trained model is worth: protocols by name, measured on held-out pictures, with rows for orientation."""
