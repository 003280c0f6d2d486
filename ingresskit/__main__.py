"""The pipeline over a folder of manifests, without a cluster: render, check, explain."""
