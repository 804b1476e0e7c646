"""What is measured: interventions, metrics and baselines, and the measurements that claims ask for.

Imports explainers and the rooms below it.
"""
