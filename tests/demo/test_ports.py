import socket

from app.demo.ports import choose_ports


def test_a_port_that_is_taken_is_replaced_by_a_free_one_and_said_why() -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        taken = occupied.getsockname()[1]
        (chosen, obstacle), (another, _) = choose_ports([taken, taken])
    assert taken not in (chosen, another)
    assert chosen != another
    assert obstacle == "Address already in use"


def test_a_free_port_is_taken_as_it_is_and_left_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    assert choose_ports([free]) == [(free, None)]
    assert choose_ports([free]) == [(free, None)]
