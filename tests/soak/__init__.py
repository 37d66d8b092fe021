"""Nothing stays frozen, by force: random kills, and every system call failing once.

`python tests/soak kills` and `python tests/soak faults`; see `--help` of each.
"""
