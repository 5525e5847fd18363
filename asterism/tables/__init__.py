"""Tables as files: rows of text, and the pictures that they name."""
