"""The ways to take a snapshot."""
