"""From Kafka to clusters to issues; `app.py` is the walk."""
