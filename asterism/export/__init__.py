"""Trained models as files for programs that do not run this library: ONNX, and PyTorch's own archives."""
