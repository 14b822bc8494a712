"""What the commands of the command line do. Each module serves one group of commands."""
