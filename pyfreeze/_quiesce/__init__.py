"""Ready-made quiesce scripts: one module per application, and what they share.

A pre-script leaves a process behind, the holder, that owns the session or lock which keeps the
application quiet. The post-script tells it to let go, and fails if there was nothing left to let go
of. `catalogue` lists the applications, `application` says what a module for one provides.
"""
