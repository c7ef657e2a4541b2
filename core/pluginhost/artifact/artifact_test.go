package artifact

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// shop is a registry on loopback.
type shop struct {
	t     *testing.T
	host  string
	asked atomic.Int64
}

func open(t *testing.T) *shop {
	t.Helper()
	s := &shop{t: t}
	inner := registry.New(registry.Logger(log.New(bytes.NewBuffer(nil), "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.host = strings.TrimPrefix(server.URL, "http://")
	return s
}

// push makes an artifact of layers and returns its reference.
func (s *shop) push(layers ...string) string {
	s.t.Helper()
	img := empty.Image
	for _, l := range layers {
		var err error
		if img, err = mutate.AppendLayers(img, static.NewLayer([]byte(l), types.OCILayer)); err != nil {
			s.t.Fatal(err)
		}
	}
	return s.put(img)
}

func (s *shop) put(img v1.Image) string {
	s.t.Helper()
	digest, err := img.Digest()
	if err != nil {
		s.t.Fatal(err)
	}
	ref := s.host + "/plugins/x@" + digest.String()
	at, err := name.NewDigest(ref)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := remote.Write(at, img); err != nil {
		s.t.Fatal(err)
	}
	return ref
}

// sign signs as cosign does, over the digest that is given.
func (s *shop) sign(ref, digest string, key crypto.Signer) {
	s.t.Helper()
	at, err := name.NewDigest(ref)
	if err != nil {
		s.t.Fatal(err)
	}
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":""},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, digest)
	var signature []byte
	if _, ed := key.(ed25519.PrivateKey); ed {
		signature, err = key.Sign(rand.Reader, payload, crypto.Hash(0))
	} else {
		sum := sha256.Sum256(payload)
		signature, err = key.Sign(rand.Reader, sum[:], crypto.SHA256)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	img, err := mutate.Append(empty.Image, mutate.Addendum{
		Layer:       static.NewLayer(payload, "application/vnd.dev.cosign.simplesigning.v1+json"),
		Annotations: map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(signature)},
	})
	if err == nil {
		err = remote.Write(at.Context().Tag(strings.ReplaceAll(at.DigestStr(), ":", "-")+".sig"), img)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func public(t *testing.T, key crypto.Signer) string {
	t.Helper()
	raw, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: raw}))
}

func keys(t *testing.T) (ec *ecdsa.PrivateKey, ed ed25519.PrivateKey) {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return ec, ed
}

const program = "\x7fELF and the rest of a program"

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestFetch(t *testing.T) {
	s, store, ctx := open(t), &Store{Dir: t.TempDir() + "/a"}, deadline(t)
	ref := s.push(program)
	path, sum, err := store.Fetch(ctx, Image{Reference: ref})
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256([]byte(program))
	if raw, err := os.ReadFile(path); err != nil || string(raw) != program || sum != hex.EncodeToString(want[:]) {
		t.Errorf("got %q of digest %s: %v", raw, sum, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o100 == 0 {
		t.Errorf("it cannot be executed: %v %v", info.Mode(), err)
	}
	asked := s.asked.Load()
	if again, _, err := (&Store{Dir: store.Dir}).Fetch(ctx, Image{Reference: ref}); err != nil || again != path || s.asked.Load() != asked {
		t.Errorf("what is kept is fetched again: %s %v, %d calls", again, err, s.asked.Load()-asked)
	}
}

func TestWhatIsNoPlugin(t *testing.T) {
	s, ctx := open(t), deadline(t)
	for want, ref := range map[string]string{
		"no reference that ends in a digest": s.host + "/plugins/x:latest",
		"the registry does not have it":      s.host + "/plugins/x@sha256:" + strings.Repeat("0", 64),
		"has 2 layers, want one":             s.push(program, "more"),
		"is an archive":                      s.push("\x1f\x8b packed"),
		"is no executable":                   s.push("hello"),
		"connect":                            "127.0.0.1:1/x@sha256:" + strings.Repeat("0", 64),
	} {
		dir := t.TempDir()
		if _, _, err := (&Store{Dir: dir}).Fetch(ctx, Image{Reference: ref}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", ref, err, want)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: left %v", want, left)
		}
	}
}

func TestSignatures(t *testing.T) {
	s, ctx := open(t), deadline(t)
	ec, ed := keys(t)
	other, _ := keys(t)
	signedBy := func(content string, key crypto.Signer, digest string) string {
		ref := s.push(program + content)
		_, own, _ := strings.Cut(ref, "@")
		if digest == "" {
			digest = own
		}
		s.sign(ref, digest, key)
		return ref
	}
	for name, test := range map[string]struct{ ref, key, want string }{
		"ECDSA":        {signedBy("1", ec, ""), public(t, ec), ""},
		"Ed25519":      {signedBy("2", ed, ""), public(t, ed), ""},
		"another key":  {signedBy("3", other, ""), public(t, ec), "another key has signed it"},
		"another type": {signedBy("4", ed, ""), public(t, ec), "another key has signed it"},
		"not signed":   {s.push(program + "5"), public(t, ec), "it is not signed"},
		"for another":  {signedBy("6", ec, "sha256:"+strings.Repeat("1", 64)), public(t, ec), "it is for the digest"},
		"no key":       {signedBy("7", ec, ""), "hello", "it is no PEM block"},
	} {
		t.Run(name, func(t *testing.T) {
			store := &Store{Dir: t.TempDir()}
			_, _, err := store.Fetch(ctx, Image{Reference: test.ref, PublicKey: test.key})
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if left, _ := os.ReadDir(store.Dir); test.want != "" && len(left) > 0 {
				t.Errorf("left %v", left)
			}
		})
	}
	// What was fetched without a key is not trusted when there is one.
	store, ref := &Store{Dir: t.TempDir()}, s.push(program+"8")
	if _, _, err := store.Fetch(ctx, Image{Reference: ref}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Fetch(ctx, Image{Reference: ref, PublicKey: public(t, ec)}); err == nil {
		t.Error("what is kept but not signed was returned")
	}
}
