"""Run the librarian."""

from archive_librarian.app import main

if __name__ == "__main__":
    main()
