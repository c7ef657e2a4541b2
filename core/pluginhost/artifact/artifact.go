// Package artifact fetches plugins that are OCI artifacts: pinned by digest, signed if a key is given, kept by content.
package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/gantryio/gantry/interfaces/plugin"
)

// Image is an artifact whose only layer is the executable as it is.
type Image struct {
	// Reference ends in @sha256:DIGEST, of a manifest, or of an index with a manifest for this machine.
	Reference string `json:"reference"`
	// PublicKey, if set, must verify a signature over that digest: see Verify.
	PublicKey string `json:"publicKey,omitempty"`
}

// Store keeps what was fetched. It is safe for concurrent use.
type Store struct {
	// Dir gets executables by their digest.
	Dir string
	// Keychain has the credentials of registries; those of the user's docker configuration when nil.
	Keychain authn.Keychain
	// Transport reaches registries; the default one when nil.
	Transport http.RoundTripper

	mu sync.Mutex
}

// maxSize bounds an executable.
const maxSize = 1 << 30

// Fetch returns the path of an artifact's executable and its SHA-256 in hexadecimal. What is kept already, with its
// signature if there is a key, costs no call of the registry.
func (s *Store) Fetch(ctx context.Context, image Image) (path, sum string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ref, err := name.NewDigest(image.Reference)
	if err != nil {
		return "", "", fmt.Errorf("fetch plugin: %q is no reference that ends in a digest: %w", image.Reference, plugin.ErrInvalid)
	}
	options := []remote.Option{
		remote.WithContext(ctx), remote.WithAuthFromKeychain(s.keychain()), remote.WithTransport(s.transport()),
		remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}),
	}
	if err := s.verify(ref, image.PublicKey, options); err != nil {
		return "", "", err
	}
	if sum, ok := s.kept(ref); ok {
		return s.file(sum), sum, nil
	}
	sum, err = s.pull(ref, options)
	if err != nil {
		return "", "", fmt.Errorf("fetch plugin %s: %w", ref, reason(err))
	}
	return s.file(sum), sum, nil
}

// verify remembers which key has verified which digest, so that a plugin can be launched again without the registry.
func (s *Store) verify(ref name.Digest, key string, options []remote.Option) error {
	if key == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(ref.DigestStr() + "\n" + key))
	file := filepath.Join(s.Dir, "signed-"+hex.EncodeToString(sum[:]))
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	if err := Verify(ref, key, options...); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return fmt.Errorf("note signature: %w", err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return fmt.Errorf("note signature: %w", err)
	}
	return nil
}

func (s *Store) keychain() authn.Keychain {
	if s.Keychain != nil {
		return s.Keychain
	}
	return authn.DefaultKeychain
}

func (s *Store) transport() http.RoundTripper {
	if s.Transport != nil {
		return s.Transport
	}
	return remote.DefaultTransport
}

func (s *Store) file(sum string) string { return filepath.Join(s.Dir, "sha256-"+sum) }

// note is the file that says which executable an artifact has.
func (s *Store) note(ref name.Digest) string {
	return filepath.Join(s.Dir, "of-"+strings.ReplaceAll(ref.DigestStr(), ":", "-"))
}

func (s *Store) kept(ref name.Digest) (sum string, ok bool) {
	raw, err := os.ReadFile(s.note(ref))
	if err != nil {
		return "", false
	}
	_, err = os.Stat(s.file(string(raw)))
	return string(raw), err == nil // Whoever launches it looks at its content.
}

func (s *Store) pull(ref name.Digest, options []remote.Option) (sum string, err error) {
	img, err := remote.Image(ref, options...)
	if err != nil {
		return "", err
	}
	layers, err := img.Layers()
	if err != nil {
		return "", err
	}
	if len(layers) != 1 {
		return "", fmt.Errorf("it has %d layers, want one: the executable: %w", len(layers), plugin.ErrInvalid)
	}
	digest, err := layers[0].Digest()
	if err != nil {
		return "", err
	}
	blob, err := layers[0].Compressed() // As it is: the library checks its digest.
	if err != nil {
		return "", err
	}
	defer func() { _ = blob.Close() }()
	if err := s.write(s.file(digest.Hex), blob, digest.Hex); err != nil {
		return "", err
	}
	return digest.Hex, os.WriteFile(s.note(ref), []byte(digest.Hex), 0o600)
}

// write takes a blob over if it is an executable of the wanted digest.
func (s *Store) write(path string, blob io.Reader, want string) (err error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o700)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path + ".new")
		}
	}()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(blob, maxSize+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); n > maxSize || got != want {
		return fmt.Errorf("the layer has digest %s and %d bytes, want %s and at most %d: %w", got, n, want, maxSize, plugin.ErrInvalid)
	}
	if err := executable(path + ".new"); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// executable says what a file is instead.
func executable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 262)
	n, _ := io.ReadFull(f, head)
	switch head = head[:n]; {
	case strings.HasPrefix(string(head), "\x7fELF"):
		return nil
	case strings.HasPrefix(string(head), "\x1f\x8b"), strings.HasSuffix(string(head), "ustar"):
		return fmt.Errorf("its layer is an archive, want the executable as it is (oras push REFERENCE FILE): %w", plugin.ErrInvalid)
	}
	return fmt.Errorf("its layer is no executable (ELF): %w", plugin.ErrInvalid)
}

// reason says what a person can do about a registry's answer.
func reason(err error) error {
	var t *transport.Error
	if !errors.As(err, &t) {
		return err
	}
	switch t.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("the registry does not have it: %w: %w", err, plugin.ErrNotFound)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("the registry does not let this node read it: %w", err)
	}
	return err
}
