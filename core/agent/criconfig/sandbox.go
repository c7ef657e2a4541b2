package criconfig

import (
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/core/agent/pod"
)

// SandboxInput is what a sandbox needs besides the pod.
type SandboxInput struct {
	Attempt uint32
	Node    string
	// Plugin and Handler are remembered in the sandbox: who made it and how.
	Plugin, Handler string
	LogDirectory    string
	CgroupParent    string
	DNS             *runtimeapi.DNSConfig
	ClusterDomain   string
	Profiles        Profiles
}

// Sandbox makes the sandbox configuration of a pod.
func Sandbox(p *corev1.Pod, in SandboxInput) *runtimeapi.PodSandboxConfig {
	annotations := maps.Clone(p.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[annotationPlugin], annotations[annotationHandler] = in.Plugin, in.Handler
	annotations[annotationNode], annotations[annotationLogDirectory] = in.Node, in.LogDirectory
	if g := pod.GrantOf(p); g != nil {
		annotations[annotationSize] = inJSON(g)
	}
	hostname, _ := Hostname(p, in.ClusterDomain)
	if p.Spec.HostNetwork {
		hostname = ""
	}
	cfg := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: p.Name, Namespace: p.Namespace, Uid: string(p.UID), Attempt: in.Attempt},
		Hostname:     hostname,
		LogDirectory: in.LogDirectory,
		DnsConfig:    in.DNS,
		PortMappings: portMappings(p),
		Labels:       PodLabels(p),
		Annotations:  annotations,
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent:    in.CgroupParent,
			SecurityContext: sandboxSecurity(p, in.Profiles),
			Resources:       PodResources(p),
			Sysctls:         sysctls(p),
		},
	}
	return cfg
}

func sandboxSecurity(p *corev1.Pod, prof Profiles) *runtimeapi.LinuxSandboxSecurityContext {
	out := &runtimeapi.LinuxSandboxSecurityContext{
		NamespaceOptions: Namespaces(p), Privileged: anyPrivileged(p), SupplementalGroups: groups(p),
		Seccomp: seccomp(nil, prof),
	}
	sc := p.Spec.SecurityContext
	if sc == nil {
		return out
	}
	if sc.SeccompProfile != nil {
		out.Seccomp = seccomp(sc.SeccompProfile, prof)
	}
	out.Apparmor = apparmor(sc.AppArmorProfile)
	out.SelinuxOptions = selinux(sc.SELinuxOptions)
	if sc.RunAsUser != nil && !p.Spec.HostNetwork {
		out.RunAsUser = &runtimeapi.Int64Value{Value: *sc.RunAsUser}
		if sc.RunAsGroup != nil {
			out.RunAsGroup = &runtimeapi.Int64Value{Value: *sc.RunAsGroup}
		}
	}
	return out
}

func anyPrivileged(p *corev1.Pod) bool {
	for _, list := range [][]corev1.Container{p.Spec.Containers, p.Spec.InitContainers} {
		for i := range list {
			if sc := list[i].SecurityContext; sc != nil && deref(sc.Privileged) {
				return true
			}
		}
	}
	return false
}

func sysctls(p *corev1.Pod) map[string]string {
	if p.Spec.SecurityContext == nil || len(p.Spec.SecurityContext.Sysctls) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, s := range p.Spec.SecurityContext.Sysctls {
		out[strings.ReplaceAll(s.Name, "/", ".")] = s.Value
	}
	return out
}

func portMappings(p *corev1.Pod) []*runtimeapi.PortMapping {
	if p.Spec.HostNetwork {
		return nil
	}
	var out []*runtimeapi.PortMapping
	for _, list := range [][]corev1.Container{p.Spec.Containers, p.Spec.InitContainers} {
		for i := range list {
			for _, port := range list[i].Ports {
				out = append(out, &runtimeapi.PortMapping{
					Protocol: protocol(port.Protocol), ContainerPort: port.ContainerPort, HostPort: port.HostPort, HostIp: port.HostIP,
				})
			}
		}
	}
	return out
}

func protocol(p corev1.Protocol) runtimeapi.Protocol {
	switch p {
	case corev1.ProtocolUDP:
		return runtimeapi.Protocol_UDP
	case corev1.ProtocolSCTP:
		return runtimeapi.Protocol_SCTP
	}
	return runtimeapi.Protocol_TCP
}

// Hostname is the pod's hostname and, with a subdomain, its domain.
func Hostname(p *corev1.Pod, clusterDomain string) (hostname, domain string) {
	if p.Spec.HostnameOverride != nil {
		return *p.Spec.HostnameOverride, ""
	}
	if hostname = p.Spec.Hostname; hostname == "" {
		hostname = p.Name
	}
	if hostname = strings.TrimRight(truncate(hostname, 63), "-."); p.Spec.Subdomain != "" {
		domain = fmt.Sprintf("%s.%s.svc.%s", p.Spec.Subdomain, p.Namespace, clusterDomain)
		if deref(p.Spec.SetHostnameAsFQDN) {
			hostname = hostname + "." + domain
		}
	}
	return hostname, domain
}

func truncate(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// LogDirectory is where the logs of a pod are kept below a root.
func LogDirectory(root, namespace, name, uid string) string {
	return filepath.Join(root, namespace+"_"+name+"_"+uid)
}

// LogPath is a container's log within the pod's log directory.
func LogPath(container string, attempt uint32) string {
	return filepath.Join(container, strconv.Itoa(int(attempt))+".log")
}
