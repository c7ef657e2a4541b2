// Package upstream runs what Kubernetes itself consists of beside a Gantry: a kube-apiserver that knows the same keys, and an etcd.
package upstream

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"

	"github.com/gantryio/gantry/core/pki"
)

// Etcd returns the URL at which an etcd with these arguments serves clients. It serves its peers at the next port.
func Etcd(dir string, port int) (url string, args []string) {
	url = "http://127.0.0.1:" + strconv.Itoa(port)
	peer := "http://127.0.0.1:" + strconv.Itoa(port+1)
	return url, []string{
		"--name", "etcd", "--data-dir", filepath.Join(dir, "data"), "--listen-client-urls", url, "--advertise-client-urls", url,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "etcd=" + peer,
	}
}

// APIServer returns the arguments of a kube-apiserver that listens on loopback and has its keys in keys, a folder that is or becomes one of
// core/pki, and what its administrator needs.
func APIServer(keys, etcd string, port int) (args []string, admin *rest.Config, err error) {
	authority, err := pki.Open(keys)
	if err != nil {
		return nil, nil, err
	}
	if _, err := authority.Issue("kube-apiserver", pki.Identity{CommonName: "kube-apiserver", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}); err != nil {
		return nil, nil, err
	}
	pair, err := authority.Issue("admin", pki.Identity{CommonName: "kubernetes-admin", Organizations: []string{user.SystemPrivilegedGroup}})
	if err != nil {
		return nil, nil, err
	}
	key, err := pki.SigningKey(keys)
	if err != nil {
		return nil, nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, nil, fmt.Errorf("encode the key of service accounts: %w", err)
	}
	file := func(name string) string { return filepath.Join(keys, name) }
	if err := os.WriteFile(file("sa.pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o600); err != nil {
		return nil, nil, err
	}
	args = []string{
		"--etcd-servers", etcd, "--secure-port", strconv.Itoa(port), "--bind-address", "127.0.0.1", "--advertise-address", "192.0.2.1",
		"--service-cluster-ip-range", "10.96.0.0/16", "--authorization-mode", "RBAC", "--runtime-config", "api/all=true",
		"--client-ca-file", file("ca.crt"), "--tls-cert-file", file("kube-apiserver.crt"), "--tls-private-key-file", file("kube-apiserver.key"),
		"--service-account-issuer", "https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file", file("sa.pub"), "--service-account-signing-key-file", file("sa.key"),
	}
	return args, &rest.Config{
		Host: "https://127.0.0.1:" + strconv.Itoa(port), QPS: -1, Timeout: 30 * time.Second, UserAgent: "upstream", WarningHandler: rest.NoWarnings{},
		TLSClientConfig: rest.TLSClientConfig{CAData: authority.CertPEM, CertData: pair.CertPEM, KeyData: pair.KeyPEM},
	}, nil
}
