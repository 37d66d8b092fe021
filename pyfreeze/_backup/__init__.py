"""One backup, from its settings to its report."""
