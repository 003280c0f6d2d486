"""What a message is, whichever protocol carries it."""
