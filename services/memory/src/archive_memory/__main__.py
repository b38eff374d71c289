"""Run memory."""

from archive_memory.app import main

if __name__ == "__main__":
    main()
