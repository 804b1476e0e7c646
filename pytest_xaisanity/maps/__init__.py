"""Attribution maps alone: similarities, imputation, noise, changes, edges. Knows no model.

Imports subject (its types) and common.
"""
