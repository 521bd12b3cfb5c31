package rtc

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v2"
	"github.com/pion/webrtc/v3"
)

// newAPI returns pion set up for what a ring needs.
func newAPI(cfg Config) (*webrtc.API, error) {
	n, err := newSockets() // of the interfaces that there are now
	if err != nil {
		return nil, fmt.Errorf("rtc: network: %w", err)
	}
	var s webrtc.SettingEngine
	s.SetNet(n)
	s.LoggerFactory = logs{cfg.Logger}
	s.DetachDataChannels()
	s.SetIncludeLoopbackCandidate(cfg.Loopback)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	s.DisableActiveTCP(true)
	// How long to hope for a better pair of addresses; by default it is up to 2 s.
	s.SetSrflxAcceptanceMinWait(100 * time.Millisecond)
	s.SetPrflxAcceptanceMinWait(200 * time.Millisecond)
	s.SetRelayAcceptanceMinWait(500 * time.Millisecond)
	// The first flight gets lost if the other side is not ready; the default
	// then loses a second. ICE has seen that the address is real already.
	s.SetDTLSRetransmissionInterval(100 * time.Millisecond)
	s.SetDTLSInsecureSkipHelloVerify(true)
	// See window.go.
	s.SetSCTPMaxReceiveBufferSize(2 * creditBytes)
	// DTLS protects every packet; there is no need to sum it again.
	s.EnableSCTPZeroChecksum(true)
	return webrtc.NewAPI(webrtc.WithSettingEngine(s)), nil
}

// channel is what a detached data channel does for us. Text is control, the
// rest is frames.
type channel interface {
	ReadDataChannel(p []byte) (n int, text bool, err error)
	WriteDataChannel(p []byte, text bool) (int, error)
}

// conn is a PeerConnection with one data channel.
type conn struct {
	pc     *webrtc.PeerConnection
	data   *webrtc.DataChannel
	gather time.Duration
	opened chan channel  // capacity 1
	failed chan struct{} // closed when ICE found no way, or lost it, or DTLS refused
}

func (t *Transport) newConn() (*conn, error) {
	policy := webrtc.ICETransportPolicyAll
	if t.cfg.RelayOnly {
		policy = webrtc.ICETransportPolicyRelay
	}
	api, err := newAPI(t.cfg)
	if err != nil {
		return nil, err
	}
	// pion makes a new certificate for each connection.
	pc, err := api.NewPeerConnection(webrtc.Configuration{ICEServers: t.cfg.Servers, ICETransportPolicy: policy})
	if err != nil {
		return nil, fmt.Errorf("rtc: new connection: %w", err)
	}
	// Both sides know the channel beforehand, which saves asking for it.
	negotiated, ordered, id := true, true, uint16(0)
	data, err := pc.CreateDataChannel("ring", &webrtc.DataChannelInit{Negotiated: &negotiated, Ordered: &ordered, ID: &id})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("rtc: new data channel: %w", err), pc.GracefulClose())
	}
	c := &conn{
		pc:     pc,
		data:   data,
		gather: t.cfg.Gather,
		opened: make(chan channel, 1),
		failed: make(chan struct{}),
	}
	c.listen()
	return c, nil
}

// listen sets the callbacks. None of them blocks.
func (c *conn) listen() {
	c.data.OnOpen(func() {
		if ch, err := c.data.Detach(); err == nil {
			c.opened <- ch
		}
	})
	fail := sync.OnceFunc(func() { close(c.failed) })
	c.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateFailed {
			fail()
		}
	})
}

// offer returns the description with which the other side can answer.
func (c *conn) offer(ctx context.Context) (string, error) {
	d, err := c.pc.CreateOffer(nil)
	if err != nil {
		return "", fmt.Errorf("rtc: offer: %w", err)
	}
	return c.describe(ctx, d)
}

// answer takes the other side's offer and returns the description for it.
func (c *conn) answer(ctx context.Context, offer description) (string, error) {
	if err := c.pc.SetRemoteDescription(offer.SessionDescription); err != nil {
		return "", fmt.Errorf("rtc: offer received: %w", err)
	}
	d, err := c.pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("rtc: answer: %w", err)
	}
	return c.describe(ctx, d)
}

// describe makes d ours and adds the addresses at which we can be reached. Our
// own are known at once; c.gather bounds the wait for those that servers know.
func (c *conn) describe(ctx context.Context, d webrtc.SessionDescription) (string, error) {
	found := make(chan struct{}) // the first address
	first := sync.OnceFunc(func() { close(found) })
	c.pc.OnICECandidate(func(address *webrtc.ICECandidate) {
		if address != nil {
			first()
		}
	})
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(d); err != nil {
		return "", fmt.Errorf("rtc: %s: %w", d.Type, err)
	}
	patience := time.NewTimer(c.gather)
	defer patience.Stop()
	enough := (<-chan struct{})(nil)
	for waiting := true; waiting; {
		select {
		case <-patience.C:
			enough = found
		case <-enough:
			waiting = false
		case <-gathered:
			waiting = false
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	sdp := c.pc.LocalDescription().SDP
	if !strings.Contains(sdp, "a=candidate:") {
		return "", errors.New("rtc: this host has no address to offer (Config.Loopback offers 127.0.0.1)")
	}
	return sdp, nil
}

// certificate returns the SHA-256 of the certificate that the other side
// showed, if it did.
func (c *conn) certificate() (sum [32]byte, shown bool) {
	der := c.pc.SCTP().Transport().GetRemoteCertificate()
	return sha256.Sum256(der), len(der) > 0
}

// roundTrip returns how long ICE's checks took on the pair of addresses in use.
func (c *conn) roundTrip() time.Duration {
	for _, s := range c.pc.GetStats() {
		if p, ok := s.(webrtc.ICECandidatePairStats); ok && p.Nominated && p.CurrentRoundTripTime > 0 {
			return time.Duration(p.CurrentRoundTripTime * float64(time.Second))
		}
	}
	return 0
}

// failure says why the connection failed, given the fingerprint that the
// other side announced.
func (c *conn) failure(announced [32]byte) error {
	if sum, shown := c.certificate(); shown && sum != announced {
		return fmt.Errorf("%w: SHA-256 %x, announced %x", errCertificate, sum[:8], announced[:8])
	}
	return fmt.Errorf("rtc: connection failed (ICE %s, DTLS %s)", c.pc.ICEConnectionState(), c.pc.SCTP().Transport().State())
}

// errCertificate reports that DTLS met somebody else than the signals announced.
var errCertificate = errors.New("rtc: not the certificate that was announced")

// close ends the connection and waits for pion's goroutines.
func (c *conn) close() error { return c.pc.GracefulClose() }
