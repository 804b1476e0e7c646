"""Explainers that replace the gradient by rules of their own: LRP, DeepLIFT, and the modified gradients of ReLUs."""
