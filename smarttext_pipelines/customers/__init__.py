"""Customers without their numbers: the secret they are told apart by, and what became of each."""
