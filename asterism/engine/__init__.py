"""The engine: everything about training that recipes share."""
