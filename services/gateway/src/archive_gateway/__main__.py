"""Run the gateway."""

from archive_gateway.app import main

if __name__ == "__main__":
    main()
