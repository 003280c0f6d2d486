"""What we believe the cluster holds: reflectors, stores, informers and the work queue."""
