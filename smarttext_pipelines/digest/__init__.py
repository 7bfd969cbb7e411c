"""The morning digest: yesterday in at most twenty lines, three when all is well, told once through the outbox."""
