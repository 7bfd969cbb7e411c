"""Files of archived events, and the manifest that says what each of them holds."""
