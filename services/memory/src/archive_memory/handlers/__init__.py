"""Messages come in; what is stored, found or forgotten goes out."""
