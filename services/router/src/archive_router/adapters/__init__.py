"""Files the router reads, and what its replicas tell each other."""
