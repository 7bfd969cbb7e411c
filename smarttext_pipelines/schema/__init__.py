"""What the database is: tables, migrations, views, grants, the guardrail in SQL, and how a schema is adopted."""
