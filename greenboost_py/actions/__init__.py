"""What the daemon does about pressure: each action plans, purely, and then applies."""
