// Package pki makes the certificates of a cluster: its own authority at the first start, and short chains
// from it for servers and clients.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 365 * 24 * time.Hour
	// A leaf is replaced at a start when less than this is left of it.
	renewBefore = 90 * 24 * time.Hour
)

// Pair is a certificate and its key.
type Pair struct {
	CertPEM, KeyPEM []byte
	cert            *x509.Certificate
	key             crypto.Signer
}

// TLS returns the pair for crypto/tls.
func (p *Pair) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{p.cert.Raw}, PrivateKey: p.key, Leaf: p.cert}
}

// Identity is what a certificate says of its holder.
type Identity struct {
	// CommonName is the user, Organizations the groups.
	CommonName    string
	Organizations []string
	// Names and IPs make it a server's certificate as well.
	Names []string
	IPs   []net.IP
}

// Authority signs certificates and keeps them in a folder.
type Authority struct {
	*Pair
	dir string
}

// Open loads the authority of dir or makes one. Keys are readable by their owner only.
func Open(dir string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	have, err := load(dir, "ca")
	if err == nil {
		return &Authority{have, dir}, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "gantry-ca"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(authorityLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, IsCA: true,
	}
	made, err := sign(template, nil)
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	return &Authority{made, dir}, made.save(dir, "ca")
}

// Pool contains the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Issue returns the pair called name, made anew when there is none, when it says something else or when
// it ends soon.
func (a *Authority) Issue(name string, id Identity) (*Pair, error) {
	have, err := load(a.dir, name)
	if err == nil && have.says(id) && time.Until(have.cert.NotAfter) > renewBefore && have.cert.CheckSignatureFrom(a.cert) == nil {
		return have, nil
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: id.CommonName, Organization: id.Organizations},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		DNSNames:    id.Names, IPAddresses: id.IPs,
	}
	if len(id.Names)+len(id.IPs) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	made, err := sign(template, a.Pair)
	if err != nil {
		return nil, fmt.Errorf("issue %s: %w", name, err)
	}
	return made, made.save(a.dir, name)
}

func (p *Pair) says(id Identity) bool {
	return p.cert.Subject.CommonName == id.CommonName &&
		slices.Equal(p.cert.Subject.Organization, id.Organizations) &&
		slices.Equal(p.cert.DNSNames, id.Names) &&
		slices.EqualFunc(p.cert.IPAddresses, id.IPs, net.IP.Equal)
}

// sign makes a key and its certificate; without an issuer the certificate signs itself.
func sign(template *x509.Certificate, issuer *Pair) (*Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, err
	}
	parent, signer := template, crypto.Signer(key)
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return parse(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func parse(certPEM, keyPEM []byte) (*Pair, error) {
	both, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	signer, ok := both.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("key of type %T cannot sign", both.PrivateKey)
	}
	return &Pair{CertPEM: certPEM, KeyPEM: keyPEM, cert: both.Leaf, key: signer}, nil
}

func load(dir, name string) (*Pair, error) {
	certPEM, err := os.ReadFile(filepath.Join(dir, name+".crt"))
	if err != nil {
		return nil, err
	}
	keyPEM, err := os.ReadFile(filepath.Join(dir, name+".key"))
	if err != nil {
		return nil, err
	}
	return parse(certPEM, keyPEM)
}

// save writes the certificate last, so that a pair that was half written counts as absent.
func (p *Pair) save(dir, name string) error {
	for _, f := range []struct {
		path string
		data []byte
	}{{filepath.Join(dir, name+".key"), p.KeyPEM}, {filepath.Join(dir, name+".crt"), p.CertPEM}} {
		if err := WriteFile(f.path, f.data); err != nil {
			return err
		}
	}
	return nil
}

// WriteFile replaces a file of secrets at once, for its owner only.
func WriteFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
