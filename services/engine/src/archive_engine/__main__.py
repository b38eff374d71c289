"""Run the engine worker."""

from archive_engine.app import main

if __name__ == "__main__":
    main()
