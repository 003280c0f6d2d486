"""A typed SDK for writing Kubernetes ingress controllers."""
