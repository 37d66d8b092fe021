"""Which filesystems to freeze, and in which order.

The kernel's mount table (`mountinfo`) and the block devices beneath it (`blockstack`) are read
first; `selection` then chooses from the two, as a pure function.
"""
