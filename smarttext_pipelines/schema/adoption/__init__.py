"""Adopting the tables that an application has: what will change, and what was there before."""
