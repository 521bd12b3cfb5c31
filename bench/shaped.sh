#!/bin/bash
# Measures how much communication the bridge hides on slow links: runs one peer
# of gorgonia_bridge's TestShapedLinks in each of N network namespaces, which are
# joined by a bridge and have links of RATE both ways. Needs root, ip and tc.
#
#	bench/shaped.sh 4 100mbit "sleep 40000" "sleep 40000 late" "sleep 40000 measured"
#	bench/shaped.sh 2 2gbit conv "conv late"
set -e
N=$1 RATE=$2
shift 2
P=${PREFIX:-rrshaped}
dir=$(mktemp -d)
down() {
	for i in $(seq 0 $((N - 1))); do ip netns del "$P$i" 2>/dev/null || true; done
	ip netns del "${P}sw" 2>/dev/null || true
	rm -rf "$dir"
}
trap down EXIT
if [ -n "$PROGRAM" ]; then cp "$PROGRAM" "$dir/peer"; else go test -c -o "$dir/peer" ./gorgonia_bridge; fi

ip netns add "${P}sw"
ip -n "${P}sw" link add br0 type bridge
ip -n "${P}sw" link set br0 up
for i in $(seq 0 $((N - 1))); do
	ip netns add "$P$i"
	ip -n "$P$i" link set lo up
	ip -n "${P}sw" link add "v$i" type veth peer name eth0 netns "$P$i"
	ip -n "${P}sw" link set "v$i" master br0 up
	ip -n "$P$i" addr add "10.78.0.$((i + 1))/24" dev eth0
	ip -n "$P$i" link set eth0 up
	ip netns exec "$P$i" tc qdisc add dev eth0 root tbf rate "$RATE" burst 256kb latency 50ms
	ip netns exec "${P}sw" tc qdisc add dev "v$i" root tbf rate "$RATE" burst 256kb latency 50ms
done

export RINGRUN_RUN=shaped RINGRUN_TRANSPORT=tcp RINGRUN_EXPECT=$N
RINGRUN_SECRET=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
export RINGRUN_SECRET
for what in "$@"; do
	peers=()
	for i in $(seq 0 $((N - 1))); do
		place=(RINGRUN_JOIN=10.78.0.1:7000)
		if [ "$i" = 0 ]; then place=(RINGRUN_FOUND=1); fi
		ip netns exec "$P$i" env "${place[@]}" RINGRUN_ID="p$i-$RANDOM" RINGRUN_BIND="10.78.0.$((i + 1)):7000" \
			RINGRUN_SHAPED="$what" "$dir/peer" -test.run '^TestShapedLinks$' -test.v >"$dir/out.$i" 2>&1 &
		peers+=($!)
	done
	for p in "${peers[@]}"; do wait "$p" || { cat "$dir"/out.*; exit 1; }; done
	grep -h communication "$dir"/out.*
done
