"""The user's network: lending it, watching a forward pass, its layers, new weights, training.

Imports common.
"""
