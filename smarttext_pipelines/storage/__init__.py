"""Where rows live: the schema, the way to it, connections and the embedded server."""
