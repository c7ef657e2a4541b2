package criconfig

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ClusterDNS is the cluster's resolver; without servers ClusterFirst behaves like Default.
type ClusterDNS struct {
	Servers []string
	Domain  string
}

// The limits of resolv.conf(5) as Kubernetes has them.
const (
	maxNameservers = 3
	maxSearches    = 32
	maxSearchChars = 2048
	maxSearchPath  = 253 // some resolvers abort on longer ones
)

// Warning is what users are told of a pod's configuration, in the words of the kubelet.
type Warning struct{ Reason, Message string }

// ParseResolvConf reads a resolv.conf(5).
func ParseResolvConf(raw []byte) *runtimeapi.DNSConfig {
	out := &runtimeapi.DNSConfig{}
	sc := bufio.NewScanner(bytes.NewReader(raw))
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) < 2 || strings.HasPrefix(f[0], "#") || strings.HasPrefix(f[0], ";") {
			continue
		}
		switch f[0] {
		case "nameserver":
			out.Servers = append(out.Servers, f[1])
		case "search":
			out.Searches = nil
			for _, s := range f[1:] {
				if s != "." {
					out.Searches = append(out.Searches, strings.TrimSuffix(s, "."))
				}
			}
		case "options":
			for _, o := range f[1:] {
				name, _, _ := strings.Cut(o, ":")
				out.Options = withOption(out.Options, name, o)
			}
		}
	}
	return out
}

// DNS makes the resolver configuration of a pod from its policy, the cluster's resolver and the host's.
func DNS(p *corev1.Pod, cluster ClusterDNS, host *runtimeapi.DNSConfig) (*runtimeapi.DNSConfig, []Warning) {
	policy := p.Spec.DNSPolicy
	if policy == corev1.DNSClusterFirstWithHostNet || policy == "" {
		policy = corev1.DNSClusterFirst
	}
	var warnings []Warning
	switch {
	case p.Spec.DNSPolicy == corev1.DNSClusterFirst && p.Spec.HostNetwork:
		policy = corev1.DNSDefault
	case policy == corev1.DNSClusterFirst && len(cluster.Servers) == 0:
		policy = corev1.DNSDefault
		warnings = append(warnings, Warning{"MissingClusterDNS", fmt.Sprintf(
			"pod: %q. kubelet does not have ClusterDNS IP configured and cannot create Pod using %q policy. Falling back to %q policy.",
			fmt.Sprintf("%s_%s(%s)", p.Name, p.Namespace, p.UID), corev1.DNSClusterFirst, corev1.DNSDefault)})
	}
	out := &runtimeapi.DNSConfig{}
	switch policy {
	case corev1.DNSClusterFirst:
		out.Servers = slices.Clone(cluster.Servers)
		out.Options = []string{"ndots:5"}
		if cluster.Domain != "" {
			out.Searches = []string{fmt.Sprintf("%s.svc.%s", p.Namespace, cluster.Domain), "svc." + cluster.Domain, cluster.Domain}
		}
		out.Searches = unique(append(out.Searches, host.GetSearches()...))
	case corev1.DNSDefault:
		out.Servers, out.Searches, out.Options = slices.Clone(host.GetServers()), slices.Clone(host.GetSearches()), slices.Clone(host.GetOptions())
	}
	if c := p.Spec.DNSConfig; c != nil {
		out.Servers = unique(append(out.Servers, c.Nameservers...))
		out.Searches = unique(append(out.Searches, c.Searches...))
		out.Options = mergeOptions(out.Options, c.Options)
	}
	return out, append(warnings, limit(out)...)
}

// limit drops what resolvers would not take.
func limit(c *runtimeapi.DNSConfig) (warnings []Warning) {
	if len(c.Servers) > maxNameservers {
		c.Servers = c.Servers[:maxNameservers]
		warnings = append(warnings, Warning{
			"DNSConfigForming", "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: " + strings.Join(c.Servers, " "),
		})
	}
	before := len(c.Searches)
	c.Searches = slices.DeleteFunc(c.Searches[:min(before, maxSearches)], func(s string) bool { return len(s) > maxSearchPath })
	for len(strings.Join(c.Searches, " ")) > maxSearchChars {
		c.Searches = c.Searches[:len(c.Searches)-1]
	}
	if len(c.Searches) < before {
		warnings = append(warnings, Warning{
			"DNSConfigForming", "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: " + strings.Join(c.Searches, " "),
		})
	}
	return warnings
}

func unique(in []string) []string {
	var out []string
	for _, s := range in {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func mergeOptions(have []string, add []corev1.PodDNSConfigOption) []string {
	for _, o := range add {
		value := o.Name
		if o.Value != nil && *o.Value != "" {
			value += ":" + *o.Value
		}
		have = withOption(have, o.Name, value)
	}
	return have
}

// withOption replaces the option of a name, or adds it.
func withOption(have []string, option, value string) []string {
	at := slices.IndexFunc(have, func(s string) bool {
		name, _, _ := strings.Cut(s, ":")
		return name == option
	})
	if at < 0 {
		return append(have, value)
	}
	have[at] = value
	return have
}

// Hosts makes the pod's /etc/hosts. The host file is given for pods on the host network only.
func Hosts(p *corev1.Pod, ips []string, clusterDomain string, hostFile []byte) []byte {
	var b bytes.Buffer
	if p.Spec.HostNetwork {
		b.WriteString("# Kubernetes-managed hosts file (host network).\n")
		b.Write(hostFile)
	} else {
		b.WriteString("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
			"fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n")
		hostname, domain := Hostname(p, clusterDomain)
		for _, ip := range ips {
			switch {
			case domain != "" && !strings.Contains(hostname, "."):
				fmt.Fprintf(&b, "%s\t%s.%s\t%s\n", ip, hostname, domain, hostname)
			case domain != "":
				short, _, _ := strings.Cut(hostname, ".")
				fmt.Fprintf(&b, "%s\t%s\t%s\n", ip, hostname, short)
			default:
				fmt.Fprintf(&b, "%s\t%s\n", ip, hostname)
			}
		}
	}
	if len(p.Spec.HostAliases) > 0 {
		b.WriteString("\n# Entries added by HostAliases.\n")
		for _, a := range p.Spec.HostAliases {
			fmt.Fprintf(&b, "%s\t%s\n", a.IP, strings.Join(a.Hostnames, "\t"))
		}
	}
	return b.Bytes()
}
