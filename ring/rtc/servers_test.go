package rtc

import (
	"net"
	"testing"
	"time"

	"github.com/pion/turn/v2"
	"github.com/pion/webrtc/v3"
	"go.uber.org/zap"
)

const (
	realm  = "ring"
	secret = "of the test"
)

// turnServer starts a TURN server on loopback and returns its URL.
func turnServer(t *testing.T) webrtc.ICEServer {
	t.Helper()
	socket := listenUDP(t)
	s, err := turn.NewServer(turn.ServerConfig{
		Realm:         realm,
		LoggerFactory: logs{zap.NewNop()},
		AuthHandler: func(user, realm string, _ net.Addr) ([]byte, bool) {
			return turn.GenerateAuthKey(user, realm, secret), true
		},
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn:            socket,
			RelayAddressGenerator: &turn.RelayAddressGeneratorStatic{RelayAddress: net.IPv4(127, 0, 0, 1), Address: "127.0.0.1"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return webrtc.ICEServer{URLs: []string{"turn:" + socket.LocalAddr().String() + "?transport=udp"}, Username: "peer", Credential: secret}
}

func listenUDP(t *testing.T) net.PacketConn {
	t.Helper()
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket
}

func (w *wire) peerWith(t *testing.T, cfg Config) *Transport {
	t.Helper()
	cfg.Signal = post{w, cfg.ID}
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// Two peers that cannot reach each other meet at a TURN server.
func TestRelay(t *testing.T) {
	leakCheck(t)
	servers := []webrtc.ICEServer{turnServer(t)}
	w := newWire()
	a := w.peerWith(t, Config{ID: "a", Servers: servers, RelayOnly: true, Loopback: true})
	b := w.peerWith(t, Config{ID: "b", Servers: servers, RelayOnly: true, Loopback: true})
	start := time.Now()
	from, to := pair(t, a, b, 1, 0)
	t.Logf("open after %v", time.Since(start))
	send(t, from, 1, make([]byte, frameBytes))
	recv(t, to)
	send(t, to, 2, []byte("and back"))
	recv(t, from)
	p, err := from.(*link).conn.pc.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
	if err != nil || p.Local.Typ != webrtc.ICECandidateTypeRelay {
		t.Errorf("the link runs over %v, %v; want a relay", p, err)
	}
}

// A server that does not answer costs no more than Config.Gather.
func TestSilentServer(t *testing.T) {
	leakCheck(t)
	servers := []webrtc.ICEServer{{URLs: []string{"stun:" + listenUDP(t).LocalAddr().String()}}}
	w := newWire()
	a := w.peerWith(t, Config{ID: "a", Servers: servers, Gather: time.Nanosecond, Loopback: true})
	b := w.peerWith(t, Config{ID: "b", Servers: servers, Gather: time.Nanosecond, Loopback: true})
	from, to := pair(t, a, b, 1, 0)
	if s := from.(*link).conn.pc.ICEGatheringState(); s == webrtc.ICEGatheringStateComplete { // pion itself gives up after 5 s
		t.Error("the link has waited for the server")
	}
	send(t, from, 1, nil)
	recv(t, to)
}

// Peers with no address in common say so, instead of waiting.
func TestNoAddress(t *testing.T) {
	leakCheck(t)
	a := newWire().peerWith(t, Config{ID: "a", RelayOnly: true})
	ctx := testContext(t, 4*soon)
	if o := <-dial(ctx, a, "b", 1, 0); o.err == nil || ctx.Err() != nil {
		t.Errorf("Dial without any address to offer: %v, want an error at once", o.err)
	}
}
