"""Run the router."""

from archive_router.app import main

if __name__ == "__main__":
    main()
