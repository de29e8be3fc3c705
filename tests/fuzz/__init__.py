"""Bytes from a fuzzer against everything that reads what others write; `targets` lists them."""
