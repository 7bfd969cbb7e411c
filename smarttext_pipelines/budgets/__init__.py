"""What the OpenAI budgets are, what was used of them, and what the month will cost."""
