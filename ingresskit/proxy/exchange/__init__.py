"""The core of the proxy: requests and responses, whichever protocol carries them."""
