"""The verbs of the command. A module here defines arguments and imports what does the work only when it runs."""
