"""What every room may use: errors, checks, registries, seeds, digests. Knows no model.

Imports no other room.
"""
