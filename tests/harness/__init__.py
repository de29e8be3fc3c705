"""What tests of whole processes stand on: needed programs, programs under test, the server, system call traces."""
