"""What attacks a claim: strategies, the search for a map that wins, mutants, small models.

Imports evidence and the rooms below it.
"""
