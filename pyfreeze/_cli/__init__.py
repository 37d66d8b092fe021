"""The command line: options in, exit status and text or JSON out; all else is the library's."""
