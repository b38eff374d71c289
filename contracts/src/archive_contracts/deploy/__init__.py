"""What deployments take from the map: access rules, scaling triggers, alert rules. Written by ``make manifests``."""
