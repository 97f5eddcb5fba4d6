import socket

from app.demo.ports import chosen_ports


def test_a_port_that_is_taken_is_replaced_by_a_free_one_and_said_why() -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        taken = occupied.getsockname()[1]
        with chosen_ports([taken, taken]) as ((chosen, obstacle), (another, _)):
            assert taken not in (chosen, another)
            assert chosen != another
            assert obstacle == "Address already in use"


def test_a_free_port_is_taken_as_it_is_and_left_free() -> None:
    free = free_port()
    for _ in range(2):
        with chosen_ports([free]) as chosen:
            assert chosen == [(free, None)]
            socket.create_server(("127.0.0.1", free)).close()


def test_two_demos_that_start_at_once_get_different_ports_before_either_listens() -> None:
    free = free_port()
    with chosen_ports([free]) as one, chosen_ports([free]) as other:
        assert one == [(free, None)]
        assert other[0][0] != free
        assert other[0][1] == "Address already in use"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
