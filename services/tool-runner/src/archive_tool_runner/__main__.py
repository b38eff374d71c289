"""Run the tool runner."""

from archive_tool_runner.app import main

if __name__ == "__main__":
    main()
