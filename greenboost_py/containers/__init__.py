"""GreenBoost in containers, by the Container Device Interface: what a runtime adds to a container that asks for it."""
