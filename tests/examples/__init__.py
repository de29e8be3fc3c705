"""The examples, followed by their own READMEs."""
