package containerd

import (
	"fmt"
	"strings"

	"github.com/gantryio/gantry/interfaces/plugin"
)

// imageName is the name of an image in parts: "gantry.local/demo:1", of which "gantry.local/demo" is the repository.
type imageName struct {
	repository  string
	tag, digest string // one of them
}

func (n imageName) String() string {
	if n.digest != "" {
		return n.repository + "@" + n.digest
	}
	return n.repository + ":" + n.tag
}

const (
	defaultDomain = "docker.io"
	maxRepository = 255
	maxTag        = 128
)

// parseName gives an image's name the form that CRI looks for: with domain, and with either digest or tag. It is
// ParseDockerRef of github.com/distribution/reference (so say its tests), whose regular expressions take half a megabyte
// in each process that links them.
func parseName(from string) (imageName, error) {
	invalid := func(why string) (imageName, error) {
		return imageName{}, fmt.Errorf("image name %q: %s: %w", from, why, plugin.ErrInvalid)
	}
	if len(from) == 64 && all(from, isHex) {
		return invalid("it is an image's ID")
	}
	rest, digest, digested := strings.Cut(from, "@")
	if digested && !isDigest(digest) {
		return invalid("its digest is not one")
	}
	domain, path := splitDomain(rest)
	path, tag, tagged := strings.Cut(path, ":")
	if tagged && !isTag(tag) {
		return invalid("its tag is not letters, digits, '_', '.' and '-', at most 128 of them")
	}
	if domain == defaultDomain && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	if !isDomain(domain) {
		return invalid("its domain is not one")
	}
	for component := range strings.SplitSeq(path, "/") {
		if !isComponent(component) {
			return invalid("its repository is not lowercase letters and digits with separators between them")
		}
	}
	n := imageName{repository: domain + "/" + path, tag: tag, digest: digest}
	if len(path) > maxRepository {
		return invalid("its repository is too long")
	}
	if digested {
		n.tag = ""
	} else if !tagged {
		n.tag = "latest"
	}
	return n, nil
}

// splitDomain tells a registry's domain from the first part of a path: it has a dot, a port or an uppercase letter, or is localhost.
func splitDomain(name string) (domain, path string) {
	first, rest, ok := strings.Cut(name, "/")
	switch {
	case !ok, first != "localhost" && !strings.ContainsAny(first, ".:") && strings.ToLower(first) == first:
		return defaultDomain, name
	case first == "index.docker.io":
		return defaultDomain, rest
	}
	return first, rest
}

// isDomain accepts a name or an address, which for IPv6 is in brackets, and a port.
func isDomain(s string) bool {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		address, port, ok := strings.Cut(rest, "]")
		return ok && address != "" && all(address, func(c byte) bool { return isHex(c) || isUpperHex(c) || c == ':' }) && (port == "" || isPort(port))
	}
	if i := strings.IndexByte(s, ':'); i >= 0 {
		if !isPort(s[i:]) {
			return false
		}
		s = s[:i]
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' || !all(label, func(c byte) bool { return isAlnum(c) || c == '-' }) {
			return false
		}
	}
	return true
}

func isPort(s string) bool {
	return len(s) > 1 && s[0] == ':' && all(s[1:], isDigit)
}

// isComponent accepts words of a-z and 0-9 with '.', '_', '__' or any number of '-' between two of them.
func isComponent(s string) bool {
	for {
		word := 0
		for word < len(s) && (isLower(s[word]) || isDigit(s[word])) {
			word++
		}
		if word == 0 {
			return false
		}
		if s = s[word:]; s == "" {
			return true
		}
		separator := 0
		for separator < len(s) && s[separator] == s[0] {
			separator++
		}
		if !(s[0] == '-' || (s[0] == '.' && separator == 1) || (s[0] == '_' && separator <= 2)) {
			return false
		}
		s = s[separator:]
	}
}

func isTag(s string) bool {
	return s != "" && len(s) <= maxTag && s[0] != '.' && s[0] != '-' &&
		all(s, func(c byte) bool { return isAlnum(c) || c == '_' || c == '.' || c == '-' })
}

// isDigest accepts those of the OCI image specification's registered algorithms.
func isDigest(s string) bool {
	algorithm, hex, _ := strings.Cut(s, ":")
	size := map[string]int{"sha256": 64, "sha384": 96, "sha512": 128}[algorithm]
	return size != 0 && len(hex) == size && all(hex, isHex)
}

func all(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool    { return c >= '0' && c <= '9' }
func isLower(c byte) bool    { return c >= 'a' && c <= 'z' }
func isAlnum(c byte) bool    { return isDigit(c) || isLower(c) || (c >= 'A' && c <= 'Z') }
func isHex(c byte) bool      { return isDigit(c) || (c >= 'a' && c <= 'f') }
func isUpperHex(c byte) bool { return c >= 'A' && c <= 'F' }
