"""Other runs: what they do, and what dead ones left."""
