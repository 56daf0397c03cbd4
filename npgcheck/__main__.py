"""``python -m npgcheck``, the same as the ``npgcheck`` command."""

from npgcheck.cli import main

if __name__ == "__main__":
    main()
