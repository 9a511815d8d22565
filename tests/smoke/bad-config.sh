#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Bad configuration given to `sluiced --check`: every kind must end with exit status 1 and a line
# that names file, line and reason, never with a crash or a hang.
#
#	BUILD=build tests/smoke/bad-config.sh [-v]
#
# -v shows what sluiced wrote in every case. Needs neither root nor a network.
set -u

sluiced=${BUILD:-build}/app/sluiced
verbose=${1:-}
passed=0
failed=0

if [ ! -x "$sluiced" ]; then
	echo "bad-config: $sluiced is missing, build it first" >&2
	exit 1
fi
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
trap 'exit 1' INT TERM
conf=$directory/sluice.conf

gateway='[gateway]
address = 10.137.0.1
dns = 10.139.1.1 10.139.1.2'
uplink='[port uplink]
device = kernel:eth0
role = uplink
address = 192.168.50.1/24
gateway = 192.168.50.2
dns = 192.168.50.2'
work='[port work]
device = kernel:vif4.0
role = qube
qube = work
[qube work]
address = 10.137.0.16'
# lines 1-3 gateway, 4-9 uplink, 10-13 port work, 14-15 qube work
good="$gateway
$uplink
$work"

verdict() { # NAME PROBLEM
	if [ -z "$2" ]; then
		passed=$((passed + 1))
		echo "ok    $1"
	else
		failed=$((failed + 1))
		echo "FAIL  $1: $2"
	fi
	if [ -n "$verbose" ] || [ -n "$2" ]; then
		cut -c 1-300 "$directory/stderr" | head -n 20 | sed 's/^/      | /'
	fi
}

# check NAME FILE STATUS [FRAGMENT]...: run --check and look for the fragments in stderr
check() {
	name=$1 file=$2 expected=$3
	shift 3
	problem=
	timeout 20 "$sluiced" --check "$file" >"$directory/stdout" 2>"$directory/stderr" </dev/null
	status=$?
	if [ "$status" -ne "$expected" ]; then
		problem="exit status $status, expected $expected"
	fi
	for fragment in "$@"; do
		if ! grep -qF -- "$fragment" "$directory/stderr"; then
			problem="${problem:+$problem; }stderr lacks \"$fragment\""
		fi
	done
	if grep -q 'Sanitizer\|runtime error' "$directory/stderr"; then
		problem="${problem:+$problem; }a sanitizer complains"
	fi
	verdict "$name" "$problem"
}

# bad NAME LINE REASON TEXT: the text as a configuration must be refused for that reason there
bad() {
	printf '%s\n' "$4" >"$conf"
	check "$1" "$conf" 1 "$conf:$2: $3"
}

# add NAME LINE REASON LINES: lines after a good configuration of 15 lines
add() {
	bad "$1" "$2" "$3" "$good
$4"
}

# rules NAME LINE REASON TEXT: a bad rules file of a good configuration
rules() {
	printf '%s\n' "$good" 'rules = work.rules' >"$conf"
	printf '%s\n' "$4" >"$directory/work.rules"
	check "$1" "$conf" 1 "$directory/work.rules:$2: $3" 'everything from qube work is refused'
}

printf '%s\n' "$good" >"$conf"
check 'a good file passes, or nothing below means anything' "$conf" 0
examples=$(dirname "$0")/../../conf
cp "$examples/sluice.conf.example" "$directory/example.conf"
cp "$examples/work.rules.example" "$directory/work.rules"
check 'the example passes' "$directory/example.conf" 0

# files
check 'missing file' "$directory/absent.conf" 1 "$directory/absent.conf: No such file"
check 'directory' "$directory" 1 "$directory: Is a directory"
: >"$conf"
check 'empty file' "$conf" 1 "$conf:1: no port is the uplink"
check 'endless device' /dev/zero 1 '/dev/zero: too large'
printf '%s\nmac = 00\0:16\n' "$good" >"$conf"
check 'NUL byte' "$conf" 1 "$conf:16: byte 0x00 is not text"
printf '%s\n\033[2J = 1\n' "$good" >"$conf"
check 'escape sequence' "$conf" 1 "$conf:16: byte 0x1b is not text"
awk 'BEGIN { for (i = 0; i < 4096; i++) printf "%c", (i * 7919 + 1) % 256 }' >"$conf"
check 'binary garbage' "$conf" 1 "$conf:1: byte 0x"
head -c 65536 "$sluiced" >"$conf"
check 'a program as configuration' "$conf" 1 "$conf:1: byte 0x"
{
	printf '%s\nmac = ' "$good"
	head -c 1048576 /dev/zero | tr '\0' a
	printf '\nbogus = 1\n'
} >"$conf"
check 'line of 1 MB' "$conf" 1 "$conf:16: line is longer than" "$conf:17: bogus: unknown key"
{
	printf '['
	head -c 1048576 /dev/zero | tr '\0' a
	printf ']\n%s\n' "$good"
} >"$conf"
check 'section header of 1 MB' "$conf" 1 "$conf:1: line is longer than"
head -c 1048576 /dev/zero | tr '\0' '\n' >"$conf"
check 'a million empty lines' "$conf" 1 "$conf:1048576: no port is the uplink"
yes '[qube a' 2>/dev/null | head -n 100000 >"$conf"
check 'a hundred thousand errors' "$conf" 1 "$conf:100: " '100 errors, further ones'
printf '%s\n' "$good" | sed 's/$/\r/' >"$conf"
check 'DOS line ends' "$conf" 1 "$conf:1: DOS line end"
printf '\357\273\277%s\n' "$good" >"$conf"
check 'byte order mark' "$conf" 1 "$conf:1: starts with a byte order mark"

# lines and sections
add 'line that is nothing' 16 '"nonsense" is neither [SECTION] nor KEY = VALUE' 'nonsense'
add 'colon for equals' 16 '"mac : 1" is neither' 'mac : 1'
add 'blank in a key' 16 'key in "ma c = 1" is wrong' 'ma c = 1'
bad 'key before the first section' 1 'workers: stands before the first section' "workers = 1
$good"
add 'unterminated section' 16 '"[sluice" is no section header' '[sluice'
add 'text behind a section' 16 '"[sluice] x" is no section header' '[sluice] x'
add 'unknown section' 16 'unknown section [uplink]; allowed: [sluice], [gateway]' '[uplink]'
add 'section in capitals' 16 'unknown section [Sluice]' '[Sluice]'
add 'duplicate [gateway]' 16 '[gateway] stands a second time, first on line 1' '[gateway]'
add 'duplicate [qube work]' 16 '[qube work] stands a second time, first on line 14' '[qube work]'
add 'duplicate [port work]' 16 '[port work] stands a second time, first on line 10' '[port work]'
add 'section with a name too much' 16 '[sluice] takes no name' '[sluice main]'
add 'qube without a name' 16 '[qube NAME]: name "" is empty' '[qube]'
add 'name too long' 16 '[qube NAME]: name "a2345678901234567890123456789012" is longer' \
	'[qube a2345678901234567890123456789012]'
add 'name with a slash' 16 '[qube NAME]: name "../x" does not start' '[qube ../x]'
add 'unknown key' 16 'colour: unknown key in [qube work]; allowed: address, address6, visible-address' \
	'colour = 10.137.0.17'
add 'key in capitals' 16 'key in "MAC = 1" is wrong' 'MAC = 1'
add 'key of another section' 16 'workers: unknown key in [qube work]' 'workers = 1'
add 'duplicate key' 16 'address: stands a second time, first on line 15' 'address = 10.137.0.17'
add 'key without a value' 16 'rules: has no value; allowed:' 'rules = ; none'

# [sluice] and [timeouts]
add 'no workers' 17 'workers: "0" is under 1; allowed: 1..64' '[sluice]
workers = 0'
add 'too many workers' 17 'workers: "65" is over 64; allowed: 1..64' '[sluice]
workers = 65'
add 'number that wraps around' 17 'workers: "4294967297" is over 64' '[sluice]
workers = 4294967297'
add 'number with a sign' 17 'workers: "-1" is not a number' '[sluice]
workers = -1'
add 'number with a unit' 17 'flows: "1M" is not a number; allowed: 1024..16777216' '[sluice]
flows = 1M'
add 'relative socket' 17 'socket: "sluice.sock" is not an absolute path' '[sluice]
socket = sluice.sock'
add 'socket path too long' 17 'socket: "/xxxxxxxx' "[sluice]
socket = /$(printf '%0120d' 0 | tr 0 x)"
add 'time-out too short' 17 'tcp-established: "59" is under 60; allowed: 60..432000' '[timeouts]
tcp-established = 59'
add 'time-out too long' 17 'icmp-query: "3601" is over 3600' '[timeouts]
icmp-query = 3601'
add 'unknown time-out' 17 'udp: unknown key in [timeouts]; allowed: tcp-syn-sent' '[timeouts]
udp = 30'

# ports
bad 'no uplink' 9 'no port is the uplink' "$gateway
$work"
add 'two uplinks' 18 'role: a second uplink, the first is [port uplink] (line 4)' '[port two]
device = kernel:eth1
role = uplink
address = 192.168.51.1/24'
add 'port without a device' 16 '[port two]: device is missing; allowed: kernel:IFNAME' '[port two]
role = qube'
add 'port without a role' 16 '[port two]: role is missing; allowed: uplink, qube or host' '[port two]
device = kernel:eth1'
add 'unknown role' 18 'role: "router" is no role' '[port two]
device = kernel:eth1
role = router'
add 'unknown kind of device' 17 'device: "eth1" is no kind of device' '[port two]
device = eth1
role = qube'
add 'interface name too long' 17 'device: "kernel:a234567890123456" has an interface name over' \
	'[port two]
device = kernel:a234567890123456'
add 'bad PCI address' 17 'device: "pci:03:00" is not a PCI address' '[port two]
device = pci:03:00'
add 'device used twice' 17 'device: is already used by [port uplink] (line 5)' '[port two]
device = kernel:eth0'
add 'port without a qube' 16 '[port two]: qube is missing' '[port two]
device = kernel:eth1
role = qube'
add 'port of an unknown qube' 19 'qube: there is no section [qube nobody]' '[port two]
device = kernel:eth1
role = qube
qube = nobody'
add 'two ports for one qube' 19 'qube: "work" already lives on [port work] (line 10)' '[port two]
device = kernel:eth1
role = qube
qube = work'
bad 'qube on the uplink' 10 'qube: belongs to a port with role = qube' "$gateway
$uplink
qube = work
$work"
add 'address on a qube port' 20 'address: belongs to a port with role = uplink' '[port two]
device = kernel:eth1
role = qube
qube = two
address = 10.137.0.17/32
[qube two]
address = 10.137.0.18'

# the uplink's addresses
uplink_with() { # NAME LINE REASON LINES
	bad "$1" "$2" "$3" "$gateway
[port uplink]
device = kernel:eth0
role = uplink
$4"
}
uplink_with 'uplink without an address' 4 '[port uplink]: needs address or address6' ''
uplink_with 'uplink without a prefix length' 7 'address: "192.168.50.1" has no /LENGTH' \
	'address = 192.168.50.1'
uplink_with 'prefix too long' 7 'address: "192.168.50.1/33" has a prefix length over 32' \
	'address = 192.168.50.1/33'
uplink_with 'netmask for a length' 7 'address: "192.168.50.1/255.255.255.0" has no number' \
	'address = 192.168.50.1/255.255.255.0'
uplink_with 'network for an address' 7 'address: "192.168.50.0/24" is the network itself' \
	'address = 192.168.50.0/24'
uplink_with 'gateway not on the link' 8 'gateway: "192.168.51.2" is not on the link' \
	'address = 192.168.50.1/24
gateway = 192.168.51.2'
uplink_with 'gateway that is ourselves' 8 'gateway: "192.168.50.1" is already the address of' \
	'address = 192.168.50.1/24
gateway = 192.168.50.1'
uplink_with 'gateway6 without address6' 8 'gateway6: needs address6 in the same section' \
	'address = 192.168.50.1/24
gateway6 = fe80::1'
uplink_with 'bad resolver' 8 'dns: "9.9.9.9,8.8.8.8" is wrong' 'address = 192.168.50.1/24
dns = 9.9.9.9,8.8.8.8'
uplink_with 'resolver on loopback' 8 'dns: "127.0.0.53" is wrong' 'address = 192.168.50.1/24
dns = 127.0.0.53'
uplink_with 'virtual resolver as real one' 8 'dns: "10.139.1.1" is already the dns of [gateway]' \
	'address = 192.168.50.1/24
dns = 10.139.1.1'
uplink_with 'too many resolvers' 8 'dns: "1.1.1.1' 'address = 192.168.50.1/24
dns = 1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 1.1.1.7 1.1.1.8 1.1.1.9'

# qubes and the gateway
add 'qube without an address' 16 '[qube two]: needs address or address6' '[qube two]'
add 'two qubes with one address' 17 'address: "10.137.0.16" is already the address of [qube work]' \
	'[qube two]
address = 10.137.0.16'
add 'qube with the address of the gateway' 17 \
	'address: "10.137.0.1" is already the address of [gateway] (line 2)' '[qube two]
address = 10.137.0.1'
add 'qube with the address of the uplink' 17 \
	'address: "192.168.50.1" is already the address of [port uplink] (line 7)' '[qube two]
address = 192.168.50.1'
add 'qube with a virtual DNS address' 17 'address: "10.139.1.2" is already the dns of [gateway]' \
	'[qube two]
address = 10.139.1.2'
add 'qube with a network' 17 'address: "10.137.0.0/24" has a prefix length' '[qube two]
address = 10.137.0.0/24'
add 'qube with an IPv6 address as address' 17 'address: "fd09::2" is an IPv6 address' '[qube two]
address = fd09::2'
add 'qube with a multicast address' 17 'address: "224.0.0.1" is a multicast address' '[qube two]
address = 224.0.0.1'
add 'IPv6 qube without an IPv6 gateway' 1 '[gateway]: address6 is missing: [qube two]' '[qube two]
address6 = fd09::2'
bad 'no gateway' 12 'address: needs a section [gateway] with address' "$uplink
$work"
add 'multicast MAC' 16 'mac: "01:16:3e:5e:6c:00" is a multicast MAC' 'mac = 01:16:3e:5e:6c:00'
add 'short MAC' 16 'mac: "00:16:3e:5e:6c" is not a MAC' 'mac = 00:16:3e:5e:6c'
# [qube work] is the first of the thousand, so the last of these is one too many
add 'too many qubes' 2014 'more than 1000 qubes' "$(awk 'BEGIN {
	for (i = 1; i <= 1000; i++)
		printf "[qube q%d]\naddress = 10.1.%d.%d\n", i, i / 200, 1 + i % 200
}')"
bad 'all errors of a file at once, the first' 2 'workers: "0" is under 1' '[sluice]
workers = 0
colour = red'
check 'all errors of a file at once, the others' "$conf" 1 "$conf:3: colour: unknown key in [sluice]" \
	"$conf:3: no port is the uplink"

# limits, filters and MSS clamps
add 'limit too high' 17 'ports: "65536" is over 65535; allowed: 1..65535, external UDP ports' \
	'[limits]
ports = 65536'
add 'limit of one qube too low' 16 'flows: "15" is under 16; allowed: 16..16777216, flows at once' \
	'flows = 15'
add 'unknown limit' 17 'packets: unknown key in [limits]; allowed: flows, new-flows, half-open' \
	'[limits]
packets = 3'
add 'limits with a name' 16 '[limits] takes no name, "work" is too much' '[limits work]'
add 'negative pickup time' 17 'tcp-pickup: "-1" is not a number; allowed: 0..3600' '[timeouts]
tcp-pickup = -1'
add 'unknown filter' 16 'filter: "open" is no filter; allowed: address-and-port, address or none' \
	'filter = open'
bad 'MSS too small' 10 'mss-clamp: "535" is under 536; allowed: off, mtu or 536..65495' "$gateway
$uplink
mss-clamp = 535
$work"
add 'unknown MSS clamp' 17 'mss-clamp: "yes" is neither off, nor mtu, nor a number' '[port two]
mss-clamp = yes'

# forwards; `web` stands on lines 16 to 20
web='[forward web]
forwardtype = external
proto = tcp
srcports = 8080-8089
qube = work'
forward() { # NAME LINE REASON LINES
	add "$1" "$2" "$3" "$web
$4"
}
printf '%s\n' "$good" "$web" 'expire = 1' >"$conf"
check 'a forward that has ended is no error' "$conf" 0
add 'port over 65535' 19 'srcports: "80443" is over 65535; allowed: PORT or LOW-HIGH in 1..65535' \
	'[forward web]
forwardtype = external
proto = tcp
srcports = 80443
qube = work'
forward 'target port over 65535' 21 'dstports: "80443" is over 65535' 'dstports = 80443'
forward 'target range over 65535' 21 'dstports: "65530-65539" is wrong: "65539" is over 65535' \
	'dstports = 65530-65539'
forward 'target port 0' 21 'dstports: "0" is under 1' 'dstports = 0'
forward 'ports that run backwards' 21 'dstports: "90-80" runs backwards' 'dstports = 90-80'
forward 'ports that do not match' 21 'dstports: 9 ports for the 10 of srcports (line 19)' \
	'dstports = 80-88'
forward 'source that is none' 21 'srchost: "host.example" is no address and no prefix' \
	'srchost = host.example'
forward 'source of a family the target lacks' 21 \
	'srchost: "2001:db8::/32" can never connect: [qube work] (line 14) has no IPv6 address' \
	'srchost = 2001:db8::/32'
forward 'end relative to now' 21 'expire: "+60" is not a number' 'expire = +60'
forward 'end in milliseconds' 21 'expire: "1700000000000" is over 253402300799' \
	'expire = 1700000000000'
forward 'key of a rule in a forward' 21 'dst4: unknown key in [forward web]; allowed: forwardtype' \
	'dst4 = 10.0.0.1'
forward 'two forwards of one name' 21 '[forward web] stands a second time, first on line 16' \
	'[forward web]'
forward 'two forwards of one port' 24 \
	'srcports: 8085 overlaps 8080-8089 of [forward web] (line 19), and so does who may connect' \
	'[forward too]
forwardtype = external
proto = tcp
srcports = 8085
qube = work'
add 'forward of an unknown type' 17 'forwardtype: "both" is no type of forward; allowed: external' \
	'[forward web]
forwardtype = both'
add 'forward of a protocol without ports' 17 'proto: "icmp" has no ports to forward' '[forward web]
proto = icmp'
add 'forward to an unknown qube' 20 'qube: there is no section [qube nobody]' '[forward web]
forwardtype = internal
proto = udp
srcports = 53
qube = nobody'
add 'empty forward' 16 '[forward web]: forwardtype is missing' '[forward web]'
check 'empty forward, the other keys' "$conf" 1 "$conf:16: [forward web]: proto is missing" \
	"$conf:16: [forward web]: srcports is missing" "$conf:16: [forward web]: qube is missing"

# allows
allow() { # NAME LINE REASON LINES
	add "$1" "$2" "$3" "[qube two]
address = 10.137.0.17
[allow a]
$4"
}
allow 'allow without ends' 18 '[allow a]: from is missing' ''
check 'allow without ends, the other one' "$conf" 1 "$conf:18: [allow a]: to is missing"
allow 'allow to itself' 20 'to: "two" is the qube of from; allowed: another one' 'from = two
to = two'
allow 'allow of an unknown qube' 19 'from: there is no section [qube three]' 'from = three
to = two'
allow 'allow of ports without a protocol' 21 'dstports: needs proto = tcp or proto = udp' \
	'from = work
to = two
dstports = 80'
allow 'allow of a port over 65535' 22 'dstports: "80443" is over 65535' 'from = work
to = two
proto = tcp
dstports = 80443'
allow 'allow of an unknown protocol' 21 'proto: "gre" is no protocol that can be named' 'from = work
to = two
proto = gre'

# rules files: one qube is refused, and whoever asked for validation hears of it
printf '%s\n' "$good" 'rules = absent.rules' >"$conf"
check 'missing rules file' "$conf" 1 "$directory/absent.rules: No such file" \
	'everything from qube work is refused'
printf '%s\n' "$good" 'rules = .' >"$conf"
check 'directory as rules file' "$conf" 1 "$directory/.: Is a directory"
rules 'empty rules file' 1 'policy: missing' ''
rules 'rule before the policy' 1 'policy: missing; the first statement' 'action=accept
policy=drop'
rules 'second policy' 3 'policy: stands a second time, first on line 1' 'policy=drop
action=accept
policy=accept'
rules 'unknown policy' 1 'policy: "reject" is not a policy' 'policy=reject'
rules 'port over 65535' 2 'dstports: 80443 is over 65535' 'policy=drop
action=accept proto=tcp dstports=80443'
rules 'two blanks' 2 'syntax: a rule is KEY=VALUE tokens with one space' 'policy=drop
action=accept  proto=tcp'
rules 'token without equals' 2 'syntax: "tcp" has no "="' 'policy=drop
action=accept tcp'
rules 'token with two equals' 2 'syntax: "proto=tcp=6" has more than one' 'policy=drop
action=accept proto=tcp=6'
rules 'protocol number' 3 'proto: "6" is not allowed; allowed: tcp, udp, icmp' 'policy=drop
# numbers are refused
action=accept proto=6'
rules 'duplicate rule key' 2 'proto: stands twice in one rule' 'policy=drop
action=accept proto=tcp proto=tcp'
rules 'DNS on another port' 2 'specialtarget: dns is port 53' 'policy=drop
action=accept specialtarget=dns proto=tcp dstports=80'
rules 'rule with an end' 2 'expire: ' 'policy=drop
action=accept expire=+60'
rules 'more than 1,000 rules' 1002 'syntax: more than 1000 rules' "policy=drop
$(yes 'action=accept' 2>/dev/null | head -n 1001)"
printf '%s\n' "$good" 'rules = work.rules' >"$conf"
printf 'policy=drop\n\0action=accept\n' >"$directory/work.rules"
check 'NUL byte in a rules file' "$conf" 1 "$directory/work.rules:2: syntax: byte 0x00 is not text"
printf 'policy=drop\naction=accept\n' >"$directory/work.rules"
check 'a good rules file passes' "$conf" 0

echo "bad-config: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
