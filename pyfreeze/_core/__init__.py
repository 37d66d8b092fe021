"""The C core, typed: the only room that knows cffi."""
