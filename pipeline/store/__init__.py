"""The database: tables, migrations, and one module per thing that is stored."""
