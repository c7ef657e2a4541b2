package artifact

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/gantryio/gantry/interfaces/plugin"
)

// signatureAnnotation has, on each layer of a signature artifact, the signature over that layer.
const signatureAnnotation = "dev.cosignproject.cosign/signature"

// maxPayload bounds what is signed.
const maxPayload = 1 << 20

// Verify looks for a signature as `cosign sign --key` makes it (cosign's SIGNATURE_SPEC): an artifact with the tag
// sha256-DIGEST.sig in the same repository, whose layers are payloads that name the digest, each with the signature over
// it in an annotation. One that the key, a PEM block of an ECDSA or Ed25519 key, verifies is enough. Transparency logs
// are not asked.
func Verify(ref name.Digest, publicKey string, options ...remote.Option) error {
	key, err := parseKey(publicKey)
	if err != nil {
		return err
	}
	tag := ref.Context().Tag(strings.ReplaceAll(ref.DigestStr(), ":", "-") + ".sig")
	img, err := remote.Image(tag, options...)
	var t *transport.Error
	if errors.As(err, &t) && t.StatusCode == http.StatusNotFound {
		return fmt.Errorf("verify plugin %s: it is not signed: there is no %s (cosign sign --key): %w", ref, tag, plugin.ErrInvalid)
	}
	if err != nil {
		return fmt.Errorf("verify plugin %s: read its signatures: %w", ref, reason(err))
	}
	manifest, err := img.Manifest()
	if err != nil {
		return fmt.Errorf("verify plugin %s: read its signatures: %w", ref, err)
	}
	problem := errors.New("there is none")
	for _, l := range manifest.Layers {
		if problem = verifyLayer(img, l, key, ref.DigestStr()); problem == nil {
			return nil
		}
	}
	return fmt.Errorf("verify plugin %s: none of its %d signatures is by the public key: the last: %w: %w", ref, len(manifest.Layers), problem, plugin.ErrInvalid)
}

func parseKey(text string) (crypto.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, fmt.Errorf("read public key: it is no PEM block: %w", plugin.ErrInvalid)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w: %w", err, plugin.ErrInvalid)
	}
	switch key.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return key, nil
	}
	return nil, fmt.Errorf("read public key: it is a %T, want ECDSA or Ed25519: %w", key, plugin.ErrInvalid)
}

// verifyLayer says why a layer is no signature by the key over the digest.
func verifyLayer(img v1.Image, l v1.Descriptor, key crypto.PublicKey, digest string) error {
	signature, err := base64.StdEncoding.DecodeString(l.Annotations[signatureAnnotation])
	if err != nil || len(signature) == 0 {
		return errors.New("it has no signature in its annotation")
	}
	layer, err := img.LayerByDigest(l.Digest)
	if err != nil {
		return err
	}
	blob, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer func() { _ = blob.Close() }()
	payload, err := io.ReadAll(io.LimitReader(blob, maxPayload))
	if err != nil {
		return err
	}
	if !signed(key, payload, signature) {
		return errors.New("another key has signed it, or it was changed")
	}
	// The payload is read only when it is known who wrote it.
	var p struct {
		Critical struct {
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		return fmt.Errorf("read what is signed: %w", err)
	}
	if got := p.Critical.Image.Digest; got != digest {
		return fmt.Errorf("it is for the digest %q", got)
	}
	return nil
}

func signed(key crypto.PublicKey, payload, signature []byte) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(payload)
		return ecdsa.VerifyASN1(k, sum[:], signature)
	case ed25519.PublicKey:
		return ed25519.Verify(k, payload, signature)
	}
	return false
}
