"""What the image is built from: the locked dependencies, and the bill of materials."""
