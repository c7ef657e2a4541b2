package auth

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
)

// Algorithm is what tokens are signed with (RFC 7518, section 3.1).
const Algorithm = "ES256"

// KeySet is a JSON web key set (RFC 7517, section 5).
type KeySet struct {
	Keys []PublicKey `json:"keys"`
}

// PublicKey is a public key of an elliptic curve as a JSON web key (RFC 7518, section 6.2.1).
type PublicKey struct {
	Use       string `json:"use"`
	Type      string `json:"kty"`
	ID        string `json:"kid"`
	Curve     string `json:"crv"`
	Algorithm string `json:"alg"`
	X         string `json:"x"`
	Y         string `json:"y"`
}

// KeySet is what others need to check the tokens' signatures.
func (t *Tokens) KeySet() KeySet {
	point, err := t.Key.PublicKey.Bytes() // 4, then both coordinates at the curve's full length (SEC 1, section 2.3.3)
	if err != nil {
		return KeySet{Keys: []PublicKey{}}
	}
	half := (len(point) - 1) / 2
	text := base64.RawURLEncoding.EncodeToString
	return KeySet{Keys: []PublicKey{{
		Use: "sig", Type: "EC", ID: keyID(&t.Key.PublicKey), Curve: t.Key.Curve.Params().Name, Algorithm: Algorithm,
		X: text(point[1 : 1+half]), Y: text(point[1+half:]),
	}}}
}

// keyID is the digest of a key, as Kubernetes names keys.
func keyID(key *ecdsa.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
