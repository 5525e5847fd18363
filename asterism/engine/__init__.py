"""The engine: everything about training that is not the science of one recipe."""
