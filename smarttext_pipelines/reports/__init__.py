"""What a business is told of a month: one page that needs nothing else, and the same as text and JSON."""
