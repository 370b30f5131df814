"""What each script does, once its configuration has been composed and checked."""
