"""The two stages between a commit and its deployment, each with a report: in the virtual environment, in containers."""
