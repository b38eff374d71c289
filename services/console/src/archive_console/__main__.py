"""Run the console."""

from archive_console.app import main

if __name__ == "__main__":
    main()
