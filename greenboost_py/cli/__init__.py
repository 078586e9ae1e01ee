"""The `greenboost` command: arguments in, text out. What it decides lies in the packages to its right."""
