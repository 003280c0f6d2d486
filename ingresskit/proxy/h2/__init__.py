"""HTTP/2: what turns its frames into requests and responses of the core, and back."""
