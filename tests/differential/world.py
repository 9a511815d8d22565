# SPDX-License-Identifier: BSD-3-Clause
"""The world that is built twice, and its configuration in two languages.

Addresses, MACs and MTUs are the same in both worlds. What the qubes may do is written once, as
Qubes rule strings; sluice reads them as they are, the kernel gets them as nftables rules inside the
chains of the upstream firewall (the oracle).
"""

import functools
import ipaddress
import random

GATEWAY, GATEWAY6 = "10.137.0.1", "fd09:24ef:4179::a89:1"
VIRTUAL_DNS = ("10.139.1.1", "10.139.1.2")
UPLINK, UPLINK6 = "192.168.50.1", "2001:2:0:50::1"
ROUTER, ROUTER6 = "192.168.50.2", "2001:2:0:50::2"
RESOLVERS = ("192.168.50.53", "192.168.50.54")
LINK, LINK6 = "192.168.50.0/24", "2001:2:0:50::/64"

QUBE_MAC = "00:16:3e:5e:6c:00"
VIF_MAC = "fe:ff:ff:ff:ff:ff"
UPLINK_MAC = "02:00:00:00:00:01"
ROUTER_MAC = "02:00:00:00:00:02"

# Remote hosts: each scenario has a few of its own here, accepted by the rules of work and personal.
REMOTE_NET, REMOTE_NET6 = "198.18.0.0/16", "2001:2:1::/48"
# Refused by a rule; the same addresses for everybody.
REFUSED_NET, REFUSED_NET6 = "203.0.113.0/24", "2001:2:3::/48"
# Refused by work's policy alone.
UNNAMED_NET, UNNAMED_NET6 = "192.0.2.0/24", "2001:2:4::/48"
# Where random rules and random destinations meet.
RANDOM_NET, RANDOM_NET6 = "198.19.0.0/16", "2001:2:2::/48"

RANDOM_RULES = 40


class Qube:
    def __init__(self, name, number, v6=True, port=True, mtu=1500):
        self.name = name
        self.port = f"vif{number}.0" if port else None
        self.ip = f"10.137.0.{15 + number}"
        self.ip6 = f"fd09:24ef:4179::a89:{15 + number:x}" if v6 else None
        self.mtu = mtu

    def __repr__(self):
        return self.name

    def address(self, v6):
        return self.ip6 if v6 else self.ip


WORK = Qube("work", 1)
PERSONAL = Qube("personal", 2, mtu=1300)
BROKEN = Qube("broken", 3)  # a rule of it cannot be understood: everything is refused
VAULT = Qube("vault", 4, v6=False)  # has no rules at all: silence
GHOST = Qube("ghost", 5, port=False)  # powered off
QUBES = (WORK, PERSONAL, BROKEN, VAULT, GHOST)
LIVE = tuple(qube for qube in QUBES if qube.port)
UPLINK_MTU = 1400
PORTS = ("uplink",) + tuple(qube.name for qube in LIVE)


# Forwards: name, side, protocol, where we listen, the target and its ports, who may connect. Nobody
# else uses ports as high as these.
REFUSED_TARGET = 8403
FORWARDS = (
    ("web", "external", "tcp", (65301, 65302, 65303), WORK, (8001, 8002, 8003), None),
    ("one", "external", "tcp", (65304, 65305), PERSONAL, (8004, 8004), None),
    ("name", "external", "udp", (65310,), PERSONAL, (53,), REMOTE_NET),
    ("game", "external", "udp", (65311,), WORK, (65311,), None),
    ("shell", "internal", "tcp", (65401,), PERSONAL, (8401,), None),
    ("log", "internal", "udp", (65402,), PERSONAL, (8402,), None),
    ("closed", "internal", "tcp", (65403,), PERSONAL, (REFUSED_TARGET,), None),
    ("mail", "internal", "tcp", (65404,), PERSONAL, (8404,), WORK.ip),
)
# Which qubes may talk: from, to, protocol, ports.
ALLOWS = (
    ("talk", WORK, PERSONAL, "udp", (8500, 8501)),
    ("look", WORK, PERSONAL, "icmp", None),
    ("back", PERSONAL, WORK, "tcp", (8502, 8502)),
)

# The rules, as dom0 writes them.


def random_prefix(rng, v6):
    """A network out of few, of all sizes, so that they nest, repeat and are hit."""
    length = rng.choice((48, 56, 64, 112, 124, 128) if v6 else (16, 20, 24, 28, 30, 32))
    host = random_host(rng, v6)
    if rng.random() < 0.2:  # host bits may be set
        return f"{host}/{length}"
    return str(ipaddress.ip_network(f"{host}/{length}", strict=False))


def random_host(rng, v6):
    base = ipaddress.ip_network(RANDOM_NET6 if v6 else RANDOM_NET)
    places = (0, 1, 2, 3, 5, 16, 17, 31, 255)
    if v6:
        offset = (rng.choice((0, 0x101)) << 64) + rng.choice(places)
    else:
        offset = (rng.choice((0, 1, 16, 17)) << 8) + rng.choice(places)
    return str(base[offset])


RANDOM_PORTS = (1, 22, 53, 80, 81, 442, 443, 444, 1023, 1024, 8080, 65535)
RANDOM_TYPES = (8, 13, 128, 0, 255)


def random_rule(rng):
    rule = [f"action={rng.choice(('accept', 'drop'))}"]
    v6 = rng.random() < 0.4
    rule.append(f"dst{6 if v6 else 4}={random_prefix(rng, v6)}")
    proto = rng.choice((None, "tcp", "udp", "icmp", "tcp", "udp"))
    if proto:
        rule.append(f"proto={proto}")
    if proto in ("tcp", "udp") and rng.random() < 0.8:
        low, high = sorted((rng.choice(RANDOM_PORTS), rng.choice(RANDOM_PORTS)))
        rule.append(rng.choice((f"dstports={low}-{high}", f"dstports={low}-{low}")))
    if proto == "icmp" and rng.random() < 0.8:
        rule.append(f"icmptype={rng.choice(RANDOM_TYPES)}")
    return " ".join(rule)


@functools.lru_cache(maxsize=None)
def random_rules(qube, seed):
    rng = random.Random(f"rules/{seed}/{qube.name}")
    return [random_rule(rng) for _ in range(RANDOM_RULES)]


def rules(qube, seed):
    """What stands in the rules file of a qube."""
    random_ones = random_rules(qube, seed)
    refused = [f"action=drop dst4={REFUSED_NET}", f"action=drop dst6={REFUSED_NET6}"]
    if qube is WORK:
        return [
            "policy=drop",
            *refused,
            f"action=accept dst4={REMOTE_NET}",
            f"action=accept dst6={REMOTE_NET6}",
            "action=accept specialtarget=dns",
            f"action=drop dst4={PERSONAL.ip} proto=tcp dstports={REFUSED_TARGET}-{REFUSED_TARGET}",
            f"action=drop dst6={PERSONAL.ip6} proto=tcp dstports={REFUSED_TARGET}-{REFUSED_TARGET}",
            f"action=accept dst4={PERSONAL.ip}",
            f"action=accept dst6={PERSONAL.ip6}",
            f"action=accept dst4={GHOST.ip}",
            # classes of their own, so that each kind of match refuses something
            f"action=drop dst4={LINK} proto=tcp dstports=7000-7999",
            f"action=drop dst4={LINK} proto=udp dstports=7000-7999",
            f"action=drop dst4={LINK} proto=icmp icmptype=8",
            f"action=accept dst4={LINK}",
            f"action=drop dst6={LINK6} proto=icmp icmptype=128",
            f"action=accept dst6={LINK6}",
            *random_ones,
        ]
    if qube is PERSONAL:
        return [
            "policy=accept",
            *refused,
            f"action=accept dst4={REMOTE_NET}",
            "action=drop specialtarget=dns proto=tcp",
            *random_ones,
        ]
    if qube is BROKEN:
        return ["policy=accept", "action=accept proto=tcp dstports=80443"]
    return []


# For sluice.


def sluice_conf(directory, workers):
    """The text of sluice.conf."""
    text = f"""\
[sluice]
workers = {workers}
socket = {directory}/control.sock
state-dir = {directory}/state
[gateway]
address = {GATEWAY}
address6 = {GATEWAY6}
dns = {" ".join(VIRTUAL_DNS)}
[port uplink]
device = kernel:eth0
role = uplink
address = {UPLINK}/{ipaddress.ip_network(LINK).prefixlen}
gateway = {ROUTER}
address6 = {UPLINK6}/{ipaddress.ip_network(LINK6).prefixlen}
gateway6 = {ROUTER6}
dns = {" ".join(RESOLVERS)}
"""
    for qube in QUBES:
        if qube.port:
            text += f"""\
[port {qube.name}]
device = kernel:{qube.port}
role = qube
qube = {qube.name}
"""
        text += f"[qube {qube.name}]\naddress = {qube.ip}\n"
        if qube.ip6:
            text += f"address6 = {qube.ip6}\n"
        if qube.port:
            text += f"mac = {QUBE_MAC}\n"
        if qube not in (VAULT, GHOST):
            text += f"rules = {qube.name}.rules\n"
    for name, side, protocol, listen, qube, ports, host in FORWARDS:
        single = len(set(ports)) == 1
        text += f"""\
[forward {name}]
forwardtype = {side}
proto = {protocol}
srcports = {listen[0]}-{listen[-1]}
dstports = {ports[0] if single else f"{ports[0]}-{ports[-1]}"}
qube = {qube.name}
"""
        if host:
            text += f"srchost = {host}\n"
    for name, sender, receiver, protocol, ports in ALLOWS:
        text += f"""\
[allow {name}]
from = {sender.name}
to = {receiver.name}
proto = {protocol}
"""
        if ports:
            text += f"dstports = {ports[0]}-{ports[-1]}\n"
    # far away: they are tested elsewhere, and the kernel has others
    text += """\
[limits]
answers = 1000000
new-flows = 10000000
half-open = 1000000
fragments = 4096
"""
    return text


# For the kernel.


def nft_rule(rule):
    """One Qubes rule as rules of nftables: one for each family that it concerns."""
    keys = dict(token.split("=", 1) for token in rule.split())
    target = "goto accepted" if keys["action"] == "accept" else "goto refused"
    for family, prefix in (("ip", "dst4"), ("ip6", "dst6")):
        match = [f"meta nfproto {'ipv4' if family == 'ip' else 'ipv6'}"]
        if {"dst4", "dst6"} & set(keys):
            if prefix not in keys:
                continue
            network = ipaddress.ip_network(keys[prefix], strict=False)
            match.append(f"{family} daddr {network}")
        if keys.get("specialtarget") == "dns":
            if family == "ip6":
                continue
            protocols = keys.get("proto", "tcp, udp")
            match.append(f"ip daddr {{ {', '.join(RESOLVERS)} }}")
            match.append(f"meta l4proto {{ {protocols} }} th dport 53")
        elif keys.get("proto") == "icmp":
            match.append(f"meta l4proto {'icmp' if family == 'ip' else 'ipv6-icmp'}")
            if "icmptype" in keys:
                match.append(f"{'icmp' if family == 'ip' else 'icmpv6'} type {keys['icmptype']}")
        elif "proto" in keys:
            match.append(f"meta l4proto {keys['proto']}")
            if "dstports" in keys:
                match.append(f"th dport {keys['dstports']}")
        yield f"{' '.join(match)} {target}"


def nft_forwards():
    """The forwards, as translations of destinations."""
    for _, side, protocol, listen, qube, ports, host in FORWARDS:
        for port, target in zip(listen, ports):
            for family, ours in (("ip", (GATEWAY, UPLINK)), ("ip6", (GATEWAY6, UPLINK6))):
                if host and family == "ip6":
                    continue
                match = f"{family} saddr {host} " if host else ""
                if side == "external":
                    match += f"iifname eth0 {family} daddr {ours[1]}"
                else:
                    match += f"iifname vif* {family} daddr {{ {', '.join(ours)} }}"
                to = qube.ip if family == "ip" else f"[{qube.ip6}]"
                yield f"{match} {protocol} dport {port} dnat {family} to {to}:{target}"


def nft_allows():
    for _, sender, receiver, protocol, ports in ALLOWS:
        match = f"iifname {sender.port} oifname {receiver.port}"
        if protocol == "icmp":
            yield f"{match} meta l4proto {{ icmp, ipv6-icmp }} ct state new accept"
        else:
            yield f"{match} {protocol} dport {ports[0]}-{ports[-1]} ct state new accept"


def nft_hairpins():
    """Sources of what goes through internal forwards, where it would not find back otherwise."""
    for qube in LIVE:
        for family, gateway in (("ip", GATEWAY), ("ip6", GATEWAY6)):
            yield (
                f"iifname {qube.port} oifname {qube.port} ct status dnat "
                f"ct original {family} daddr {gateway} snat {family} to {gateway}"
            )
    for family, uplink in (("ip", UPLINK), ("ip6", UPLINK6)):
        yield (
            f"iifname vif* oifname vif* ct status dnat ct original {family} daddr {uplink} "
            f"snat {family} to {uplink}"
        )


def block(name, lines):
    return f"\tchain {name} {{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}\n"


def oracle(seed):
    """The upstream firewall, chain by chain as spec/qubes.md section 4 has it."""
    addresses = ", ".join(qube.ip for qube in QUBES)
    addresses6 = ", ".join(qube.ip6 for qube in QUBES if qube.ip6)
    raw = [
        "type filter hook prerouting priority raw",
        f"iifname eth0 ip saddr {{ {addresses} }} drop",
        f"iifname eth0 ip6 saddr {{ {addresses6} }} drop",
        # the gateway is asked for from link-local addresses too
        "iifname vif* icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
    ]
    for qube in LIVE:
        raw.append(f"iifname {qube.port} ip saddr != {qube.ip} drop")
        if qube.ip6:
            raw.append(f"iifname {qube.port} ip6 saddr != {qube.ip6} drop")
        else:
            raw.append(f"iifname {qube.port} meta nfproto ipv6 drop")
    dnat = ["type nat hook prerouting priority dstnat"]
    for number, address in enumerate(VIRTUAL_DNS):
        resolver = RESOLVERS[number % len(RESOLVERS)]
        dnat.append(
            f"iifname vif* ip daddr {address} meta l4proto {{ tcp, udp }} th dport 53 "
            f"dnat ip to {resolver}"
        )
    dnat += nft_forwards()
    forward = [
        "type filter hook forward priority filter; policy drop",
        "ct state established,related accept",
        "iifname eth0 ct status dnat accept",
        "iifname eth0 drop",
    ]
    forward += [f"iifname {qube.port} goto qube-{qube.name}" for qube in LIVE]
    text = "table inet oracle {\n"
    text += block("refused", ["reject with icmpx admin-prohibited"])
    text += block(
        "accepted",
        [
            "oifname vif* ct status dnat accept",
            *nft_allows(),
            "oifname vif* drop",
            "ct state invalid drop",
            "accept",
        ],
    )
    for qube in LIVE:
        if qube is BROKEN:
            chain = ["goto refused"]
        elif qube is VAULT:
            chain = ["drop"]
        else:
            policy, *rest = rules(qube, seed)
            chain = [line for rule in rest for line in nft_rule(rule)]
            chain.append("goto accepted" if policy == "policy=accept" else "goto refused")
        text += block(f"qube-{qube.name}", chain)
    text += block("raw", raw)
    text += block("dns", dnat)
    text += block("forward", forward)
    text += block(
        "input",
        [
            "type filter hook input priority filter; policy drop",
            "ct state invalid drop",
            "iifname vif* udp dport 68 drop",
            "ct state established,related accept",
            "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
            "iifname vif* meta l4proto { icmp, ipv6-icmp } accept",
            "iifname vif* meta nfproto ipv4 reject with icmp host-prohibited",
            "iifname vif* reject with icmpv6 admin-prohibited",
        ],
    )
    text += block(
        "post",
        [
            "type nat hook postrouting priority srcnat",
            *nft_hairpins(),
            "oifname vif* accept",
            "masquerade",
        ],
    )
    text += block(
        "leaks",
        [
            "type filter hook postrouting priority filter",
            f"oifname eth0 ip daddr {{ {addresses} }} drop",
            f"oifname eth0 ip6 daddr {{ {addresses6} }} drop",
        ],
    )
    return text + "}\n"


# Settings of the kernel's namespace. None of them is shared with others.
SYSCTLS = {
    # upstream: routers in general
    "net/ipv4/ip_forward": 1,
    "net/ipv6/conf/all/forwarding": 1,
    "net/ipv6/conf/all/accept_ra": 0,
    "net/ipv4/conf/all/send_redirects": 0,
    # no limit of errors, so that scenarios do not take each other's answers
    "net/ipv4/icmp_ratelimit": 0,
    "net/ipv4/icmp_msgs_per_sec": 1000000,
    "net/ipv4/icmp_msgs_burst": 1000000,
    "net/ipv6/icmp/ratelimit": 0,
    # fragments of many scenarios come from one address
    "net/ipv4/ipfrag_max_dist": 0,
    # sluice takes no connection up in its middle
    "net/netfilter/nf_conntrack_tcp_loose": 0,
    # flow labels of its own would be random
    "net/ipv6/auto_flowlabels": 0,
}
VIF_SYSCTLS = {
    "net/ipv4/conf/{}/proxy_arp": 1,
    # answers by proxy at once
    "net/ipv4/neigh/{}/proxy_delay": 0,
    "net/ipv6/neigh/{}/proxy_delay": 0,
    "net/ipv4/conf/{}/accept_redirects": 0,
    "net/ipv6/conf/{}/accept_redirects": 0,
    "net/ipv4/conf/{}/send_redirects": 0,
}
