"""``python -m pipeline.cli``: how the supervisor starts a part."""

from pipeline.cli import main

if __name__ == "__main__":
    main()
