"""Where tasks come from: files of the user's, well-known collections, and the suite that comes with codeact."""
