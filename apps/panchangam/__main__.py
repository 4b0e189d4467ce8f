"""`python -m apps.panchangam`."""

from apps.panchangam.commands import main

if __name__ == "__main__":
    main()
