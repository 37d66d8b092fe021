"""The configuration: which files are trusted, what they say, and what is wrong with them."""
