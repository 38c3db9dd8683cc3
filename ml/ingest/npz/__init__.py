"""NPZ files: their form, and how their arrays become tables and images."""
