"""Real servers on loopback for tests; the command is scripts/engines.py."""
