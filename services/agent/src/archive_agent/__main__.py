"""Run the agent."""

from archive_agent.app import main

if __name__ == "__main__":
    main()
