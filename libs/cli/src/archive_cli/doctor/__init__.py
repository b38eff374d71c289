"""What `archive doctor` looks at. Each module judges one part from facts that others have asked for."""
