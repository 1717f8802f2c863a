"""Products that run out of file descriptors."""
import os
import resource

from harness import Client, eventually
from knobs import total


def open_descriptors(running):
    return len(os.listdir(f"/proc/{running.process.pid}/fd"))


def exhaust_descriptors(running, port, works):
    """Connects until the product has no descriptor left, and checks that it comes to itself again.

    `works(client)` checks that a client is served.
    """
    first = Client(port)
    works(first)
    limit = open_descriptors(running) + 20
    resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
    clients = [Client(port) for _ in range(40)]  # The kernel takes those that cannot be accepted.
    for client in [first, *clients[:10]]:
        works(client)
    # Those that had to wait are served when others leave.
    for client in clients[:25]:
        client.close()
    for client in clients[25:]:
        works(client)
    for client in clients[25:]:
        client.close()
    eventually(lambda: open_descriptors(running) < limit - 10, 10, "descriptors freed")
    works(Client(port))
    assert total(running, "core_net_accept_pause_total") > 0
    assert running.process.poll() is None
