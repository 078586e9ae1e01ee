"""The daemon as a service of the system: which files it takes, and putting them there and away again."""
