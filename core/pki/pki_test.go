package pki

import (
	"bytes"
	"crypto/x509"
	"net"
	"testing"
)

func TestCertificatesAreKeptUntilTheirHolderChanges(t *testing.T) {
	dir := t.TempDir()
	a, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	id := Identity{CommonName: "server", Names: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}
	first, err := a.Issue("server", id)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.CertPEM, again.CertPEM) {
		t.Error("the authority was made anew")
	}
	second, err := again.Issue("server", id)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.CertPEM, second.CertPEM) {
		t.Error("an unchanged certificate was made anew")
	}
	id.Names = append(id.Names, "example.test")
	third, err := again.Issue("server", id)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(second.CertPEM, third.CertPEM) {
		t.Error("a certificate without the new name was kept")
	}
	if _, err := third.cert.Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: "example.test"}); err != nil {
		t.Errorf("verify: %v", err)
	}
}

func TestClientsAndServersAreToldApart(t *testing.T) {
	a, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	client, err := a.Issue("admin", Identity{CommonName: "admin", Organizations: []string{"system:masters"}})
	if err != nil {
		t.Fatal(err)
	}
	use := func(u x509.ExtKeyUsage) error {
		_, err := client.cert.Verify(x509.VerifyOptions{Roots: a.Pool(), KeyUsages: []x509.ExtKeyUsage{u}})
		return err
	}
	if err := use(x509.ExtKeyUsageClientAuth); err != nil {
		t.Errorf("as a client: %v", err)
	}
	if use(x509.ExtKeyUsageServerAuth) == nil {
		t.Error("a client's certificate passes as a server's")
	}
}
