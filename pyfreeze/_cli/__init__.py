"""The command line: options in, exit status and text or JSON out. Everything else is the library's."""
