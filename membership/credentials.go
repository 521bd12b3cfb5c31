package membership

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

// certName is the name in every certificate of a run: addresses prove nothing.
const certName = "ringrun"

// certTime is when certificates are made, checked and gone.
var certTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// TLS returns what both ends of a TLS connection between peers of a run need.
// The secret makes the key of an authority that signs a fresh certificate for
// each process, so whoever knows the secret of the run is let in, from either
// side, and nobody else. Certificates are good at one moment, which is always now:
// the secret ends with the run, and clocks may be wrong.
func TLS(secret []byte, run, id string) (*tls.Config, error) {
	if len(secret) < minSecret {
		return nil, fmt.Errorf("membership: secret of %d bytes, at least %d are needed", len(secret), minSecret)
	}
	authority := ed25519.NewKeyFromSeed(deriveKey(secret, "authority", run))
	root, err := certificate(certName+" "+run, nil, authority.Public(), authority)
	if err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("membership: key: %w", err)
	}
	leaf, err := certificate(id, root, public, authority)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: private, Leaf: leaf}},
		ServerName:   certName,
		RootCAs:      pool,
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		Time:         func() time.Time { return certTime },
	}, nil
}

// certificate signs a public key; without a parent it is that of the authority.
func certificate(name string, parent *x509.Certificate, public any, authority ed25519.PrivateKey) (*x509.Certificate, error) {
	c := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(randomBytes(16)),
		Subject:               pkix.Name{CommonName: name},
		DNSNames:              []string{certName},
		NotBefore:             certTime,
		NotAfter:              certTime,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if parent == nil {
		c.IsCA, c.KeyUsage, c.ExtKeyUsage, c.DNSNames = true, x509.KeyUsageCertSign, nil, nil
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, authority)
	if err != nil {
		return nil, fmt.Errorf("membership: certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}
