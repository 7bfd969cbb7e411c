"""Archive, verify, delete, restore, erase: a row is deleted only when a file that was read back holds exactly it."""
