"""Issue trackers behind one port: the local one in the database, and Jira."""
