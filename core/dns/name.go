package dns

import (
	"net/netip"
	"strings"
)

// path is what a name below the zone is about. Its parts are those of
//
//	[HOST. | _PORT._PROTOCOL.]SERVICE.NAMESPACE.(svc|pod).ZONE.
type path struct {
	tree      string // svc, pod, or "" for the zone itself
	namespace string
	service   string
	key       string // SERVICE.NAMESPACE
	host      string
	port      string
	protocol  string
}

// parse splits what stands before the zone, in lower case; false means that no such name can exist.
func parse(rest string) (p path, ok bool) {
	if rest == "" {
		return p, true
	}
	if strings.IndexByte(rest, '\\') >= 0 {
		return p, false // no name of Kubernetes needs an escape
	}
	rest, p.tree = cutLast(rest)
	if p.tree != "svc" && p.tree != "pod" {
		return p, false
	}
	key := rest
	rest, p.namespace = cutLast(rest)
	rest, p.service = cutLast(rest)
	if p.service == "" {
		return p, true
	}
	if rest == "" {
		p.key = key
		return p, true
	}
	p.key = key[len(rest)+1:]
	first, last := cutLast(rest)
	switch {
	case first == "":
		p.host = last
	case strings.IndexByte(first, '.') < 0:
		p.port, p.protocol = strings.TrimPrefix(first, "_"), strings.TrimPrefix(last, "_")
	default:
		return p, false
	}
	return p, true
}

// cutLast splits the last label off; before is empty when there is no other.
func cutLast(name string) (before, label string) {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}

// podIP reads the label of a pod, in which dashes stand for dots or colons.
func podIP(label string) (netip.Addr, bool) {
	separator := ":"
	if strings.Count(label, "-") == 3 && !strings.Contains(label, "--") {
		separator = "."
	}
	ip, err := netip.ParseAddr(strings.ReplaceAll(label, "-", separator))
	return ip, err == nil && ip.Zone() == ""
}

const (
	reverse4 = ".in-addr.arpa."
	reverse6 = ".ip6.arpa."
)

// reversed reads a name of RFC 1035, section 3.5, or RFC 3596, section 2.5, in lower case.
func reversed(name string) (netip.Addr, bool) {
	if digits, ok := strings.CutSuffix(name, reverse4); ok {
		var ip [4]byte
		i, n, any := 3, 0, false
		for j := 0; j <= len(digits); j++ {
			if j == len(digits) || digits[j] == '.' {
				if !any || n > 255 || i < 0 {
					return netip.Addr{}, false
				}
				ip[i] = byte(n)
				i, n, any = i-1, 0, false
				continue
			}
			c := digits[j]
			if c < '0' || c > '9' || n > 255 {
				return netip.Addr{}, false
			}
			n, any = n*10+int(c-'0'), true
		}
		return netip.AddrFrom4(ip), i == -1
	}
	digits, ok := strings.CutSuffix(name, reverse6)
	if !ok || len(digits) != 63 {
		return netip.Addr{}, false
	}
	var ip [16]byte
	for j := range 32 {
		c := strings.IndexByte("0123456789abcdef", digits[2*j])
		if c < 0 || j < 31 && digits[2*j+1] != '.' {
			return netip.Addr{}, false
		}
		ip[15-j/2] |= byte(c) << (4 * (j % 2))
	}
	return netip.AddrFrom16(ip), true
}
