"""What is watched while a model serves: drift, experiments, alerts. NumPy only, no HTTP here."""
