"""A whole backup of a made-up shop, on filesystems of its own, and the proof that it is good.

`needs` says what a machine lacks, `namespace` hides everything from the rest of it, `stage` makes
the filesystems, `writer` is the application and `shop` its operator (scripts, configuration),
`proof` checks the snapshot, `play` puts all that in order, `show` prints it.
"""
