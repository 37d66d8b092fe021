"""What the system tests are made of: a private namespace, filesystems, scripts, commands."""
