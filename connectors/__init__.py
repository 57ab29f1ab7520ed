"""From platforms to Kafka: one file a platform, one contract for all."""
