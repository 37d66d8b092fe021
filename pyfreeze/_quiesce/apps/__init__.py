"""A module for each application."""
