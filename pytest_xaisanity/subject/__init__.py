"""What is explained: a model with inputs and targets, in blocks, on a device.

Imports model and common.
"""
