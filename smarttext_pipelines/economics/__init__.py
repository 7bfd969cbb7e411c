"""What a business costs and what it pays, by month; customers who were not reached."""
