"""How to reach the database: connections, poolers, the embedded server; and its ledger of rolled-up days."""
