"""What a person and a machine read of recorded verdicts, from records alone.

Imports common.
"""
