package containerd

import (
	"errors"
	"strings"
	"testing"

	"github.com/distribution/reference"

	"github.com/gantryio/gantry/interfaces/plugin"
)

// FuzzParseName compares with the library that containerd asks.
func FuzzParseName(f *testing.F) {
	hex := strings.Repeat("0123456789abcdef", 8)
	for _, name := range []string{
		"", "demo", "demo:1", "a/b", "a/b:c", "localhost/a", "localhost", "localhost:5000/a", "gantry.local/demo:1", "index.docker.io/a", "docker.io/a", "docker.io/a/b",
		"index.docker.io/a/b", "Registry/a", "registry/A", "a.b/", "/a", "a//b", "a.b//c", "a.b:/c", "a.b:x/c", "a:5000/b:1", "a.b:5000", "-a.b/c", "a-.b/c", "a-b.c/d", "a..b/c", "[::1]:5000/a",
		"[::1]/a", "[]/a", "[::g]/a.b", "[::1/a.b", "[::AB]/a", "a_b", "a__b", "a___b", "a--b", "a---b", "a.b", "a..b", "a._b", "_a", "a_", "a.", "a b", "ä", "a:ä", "a:.b", "a:-b", "a:_b", "a:b.c-d",
		"a:" + strings.Repeat("t", 128), "a:" + strings.Repeat("t", 129), hex[:64], hex[:63], strings.ToUpper(hex[:64]), "a/" + hex[:64], strings.Repeat("a/", 127) + "a", strings.Repeat("a", 246),
		strings.Repeat("a", 256), strings.Repeat("a", 248), "x.y/" + strings.Repeat("b", 255), "x.y/" + strings.Repeat("b", 256),
		"a@sha256:" + hex[:64], "a:1@sha256:" + hex[:64], "a.b/c:1@sha256:" + hex[:64], "a@sha256:" + hex[:63], "a@sha512:" + hex, "a@sha384:" + hex[:96], "a@md5:" + hex[:32], "a@SHA256:" + hex[:64], "a@sha256:" + strings.ToUpper(hex[:64]), "a@", "@sha256:" + hex[:64], "a@b@c",
		"a@sha256+b64u:" + hex[:64], "docker.io", "docker.io/", "docker.io/library/a", "LOCALHOST/a", "index.docker.io", "library/a", "1.2.3.4/a", "1.2.3.4:80/a:b",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		want, wantErr := reference.ParseDockerRef(name)
		got, err := parseName(name)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v, the library says %v", name, err, wantErr)
		}
		if err != nil {
			if !errors.Is(err, plugin.ErrInvalid) {
				t.Fatalf("%q: %v is no ErrInvalid", name, err)
			}
			return
		}
		if got.String() != want.String() || got.repository != want.Name() {
			t.Fatalf("%q: %s of %s, the library says %s of %s", name, got, got.repository, want, want.Name())
		}
	})
}
