"""HTTP/1.1: the codec that reads and writes the octets of messages."""
