"""A report in other forms: drawn, as a trace, as metrics. Pure functions of it."""
