"""Files the router reads."""
