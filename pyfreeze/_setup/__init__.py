"""What `init` and `install` write."""
