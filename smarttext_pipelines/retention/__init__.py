"""Archive, verify, delete, restore, erase. A row is deleted only when a file that was read back holds exactly that row."""
