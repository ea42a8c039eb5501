"""``python -m toolkit`` is ``regionkit``."""

from toolkit.cli.main import main

if __name__ == "__main__":
    main()
