package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

const minSecret = 16 // bytes

// A credential is what lets a peer into a run.
type credential struct {
	secret []byte
	shared string // how it was given, if it was: the option a joiner needs as well
}

// run is the name of the run. It follows from the secret, so that whoever has
// the one has the other, and it does not give the secret away.
func (c credential) run() string {
	sum := sha256.Sum256(append([]byte("ringrun run "), c.secret...))
	return hex.EncodeToString(sum[:4])
}

// findCredential takes the secret from the file, the environment or the records
// of the runs on this machine, or mints one for a new run.
func findCredential(o options, env string, r records) (credential, error) {
	if o.secretFile != "" {
		return readSecretFile(o.secretFile)
	}
	if env != "" {
		secret, err := hex.DecodeString(env)
		if err != nil || len(secret) < minSecret {
			return credential{}, fmt.Errorf("RINGRUN_SECRET: want at least %d bytes in hex: openssl rand -hex 32 makes some", minSecret)
		}
		return credential{secret, "RINGRUN_SECRET=…"}, nil
	}
	if len(o.join) == 0 {
		secret := make([]byte, 32)
		rand.Read(secret) // never fails: see its documentation
		return credential{secret: secret}, nil
	}
	for _, addr := range o.join {
		if secret, ok := r.find(addr); ok {
			return credential{secret: secret}, nil
		}
	}
	return credential{}, findNobody(o.join)
}

// A noSecret is why there is none for some addresses; ticket says that somebody is
// there for whom one would do.
type noSecret struct {
	text   string
	ticket bool
}

func (e *noSecret) Error() string { return e.text }

// findNobody says what is wrong with addresses that have no record: perhaps nobody
// is there at all.
func findNobody(addrs []string) error {
	for _, addr := range addrs {
		c, err := net.DialTimeout("tcp", addr, 3*time.Second)
		if err == nil {
			c.Close()
			return &noSecret{addr + ": somebody listens there, but not a run of this user on this machine, " +
				"so its secret is needed: -secret-file, or RINGRUN_SECRET", true}
		}
	}
	return &noSecret{text: strings.Join(addrs, ",") + ": nobody answers there: is the address right, and does that run still go on?"}
}

// readSecretFile accepts hex, and takes anything else as a passphrase.
func readSecretFile(name string) (credential, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return credential{}, fmt.Errorf("-secret-file: %w", err)
	}
	b = bytes.TrimSpace(b)
	if len(b) < minSecret {
		return credential{}, fmt.Errorf("-secret-file %s: %d bytes, want at least %d: openssl rand -hex 32 makes some", name, len(b), minSecret)
	}
	shared := "-secret-file FILE"
	if secret, err := hex.DecodeString(string(b)); err == nil && len(secret) >= minSecret {
		return credential{secret, shared}, nil
	}
	sum := sha256.Sum256(b)
	return credential{sum[:], shared}, nil
}
