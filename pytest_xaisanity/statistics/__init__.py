"""How scores become a verdict: pure functions, without torch.

Imports common.
"""
