# SPDX-License-Identifier: BSD-3-Clause
"""What sluice-replay chooses by its fixed key, and nobody can work out here.

Only where a preserved port is taken there is something to choose. These are the places at which a
case is recorded, not constructed: the value alone, everything around it is the specification's.
When nat/binding.c changes its choice, a failing case shows the new value as the port that it got.
"""

# port-clash: TCP, UDP, ICMP
CLASH_TCP, CLASH_UDP, CLASH_ICMP = 38846, 59676, 42226

# dns-one-socket: UDP
ONE_SOCKET_PORT = 58946

# nat66: TCP, UDP, ICMPv6
CLASH6_TCP, CLASH6_UDP, CLASH6_ICMP = 16499, 53985, 0x3212

# port-shadow: TCP and UDP ports in place of one that a forward listens on
SHADOW_TCP, SHADOW_UDP, SHADOW6_UDP = 49344, 41819, 23877

CLASSES = {name: value for name, value in globals().items() if isinstance(value, int)}
assert all(1024 <= value <= 65535 for value in CLASSES.values()), "the class of ports is kept"

# fragments-flood: identifications of IPv4 UDP fragments from work to the server that all come
# together on one worker, whether there are one, two or three
FLOOD_NAMES = (
    0x6001, 0x6003, 0x6005, 0x6006, 0x6007, 0x6009, 0x600C, 0x600D, 0x600F, 0x6010, 0x6012, 0x6013
)  # fmt: skip
