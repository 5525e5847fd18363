"""Data: from folders and tables to batches of pictures with labels."""
