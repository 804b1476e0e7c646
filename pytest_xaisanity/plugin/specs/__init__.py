"""SPECs: what the command line names a model, inputs, targets and explainers by.

Nothing here knows pytest: a SPEC is read (``spec``), found (``objects``, and a file for each family of libraries) and
made. Finding imports what it has to, and says what is wrong; only making calls what belongs to the user.
"""
