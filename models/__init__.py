"""What is learned from text: vectors, kinds, clusters, key phrases. Knows no Kafka, no database, no clock."""
