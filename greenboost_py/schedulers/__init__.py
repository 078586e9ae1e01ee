"""What other people's schedulers import, each in its own process: Ray."""
