"""What decides many claims on one subject: the bench, its runs, the audit, the gap between two rankings.

Imports claims and the rooms below it.
"""
