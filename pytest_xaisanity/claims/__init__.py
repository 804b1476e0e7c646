"""The four verbs, one a file: evidence in, verdict out.

Imports adversaries and the rooms below it.
"""
