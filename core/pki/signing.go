package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const signingBlock = "PRIVATE KEY"

// SigningKey returns the key that signs the tokens of service accounts, the file sa.key in dir, which is made at the
// first time. Servers over one etcd must share the file.
func SigningKey(dir string) (*ecdsa.PrivateKey, error) {
	path := filepath.Join(dir, "sa.key")
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return newSigningKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != signingBlock {
		return nil, fmt.Errorf("read the signing key: %s has no %s block", path, signingBlock)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the signing key %s: %w", path, err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || ec.Curve != elliptic.P256() {
		return nil, fmt.Errorf("read the signing key: %s is no P-256 key", path)
	}
	return ec, nil
}

func newSigningKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make the signing key: %w", err)
	}
	if err := WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: signingBlock, Bytes: der})); err != nil {
		return nil, fmt.Errorf("make the signing key: %w", err)
	}
	return key, nil
}
