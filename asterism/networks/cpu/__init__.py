"""Fast kernels for CPUs, behind the layers of `networks.layers`."""
