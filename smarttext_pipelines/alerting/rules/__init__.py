"""Rules: what they are, the file they are read from, and their form as tables of one evaluation."""
