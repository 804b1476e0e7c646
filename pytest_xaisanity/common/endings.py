"""Endings of the names of files."""

__all__ = ["TENSORS"]

TENSORS = (".npy", ".pt", ".pth", ".safetensors")
"""Of files that hold tensors."""
