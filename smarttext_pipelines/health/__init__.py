"""Whether the monitoring itself works: reads state and judges it; changes and sends nothing but heartbeats."""
