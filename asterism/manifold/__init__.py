"""The manifold of the pictures that a trained model can make: codes of pictures, directions between them, edits along it."""
