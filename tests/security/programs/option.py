"""Sets a server option by libgearman's own call, and submits a background job. Arguments: port, option, function."""
# ruff: noqa: T201 - print is how the test hears

import sys
from ctypes import CDLL, c_bool, c_char_p, c_int, c_size_t, c_uint16, c_void_p, create_string_buffer


def main(port: str, option: str, function: str) -> None:
    library = CDLL("libgearman.so.8")
    library.gearman_client_create.restype = c_void_p
    library.gearman_client_create.argtypes = [c_void_p]
    library.gearman_client_add_server.argtypes = [c_void_p, c_char_p, c_uint16]
    library.gearman_client_set_server_option.restype = c_bool
    library.gearman_client_set_server_option.argtypes = [c_void_p, c_char_p, c_size_t]
    library.gearman_client_do_background.restype = c_int
    library.gearman_client_do_background.argtypes = [c_void_p, c_char_p, c_char_p, c_char_p, c_size_t, c_char_p]
    client = library.gearman_client_create(None)
    library.gearman_client_add_server(client, b"127.0.0.1", int(port))
    taken = library.gearman_client_set_server_option(client, option.encode(), len(option))
    print("option", "taken" if taken else "refused")
    code = library.gearman_client_do_background(client, function.encode(), None, b"x", 1, create_string_buffer(64))
    print("submit", "refused" if code else "accepted")


main(*sys.argv[1:])
