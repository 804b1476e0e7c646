"""The user's network: a snapshot of it, lending it, watching a forward pass, its layers, new weights, training.

Imports common.
"""
