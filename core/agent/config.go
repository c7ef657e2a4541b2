package agent

import (
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Config is what one can choose about a node. The zero value but for NodeName is a node like the kubelet's default.
type Config struct {
	// NodeName is the name of the Node object.
	NodeName string `json:"nodeName"`
	// NodeIPs are the node's addresses; by default the first global unicast address of the machine. They must be given
	// where there is none, such as in a network namespace with only a loopback interface.
	NodeIPs []string `json:"nodeIPs,omitempty"`
	// Hostname is what the node calls itself, by default the machine's host name.
	Hostname string `json:"hostname,omitempty"`
	// Labels and Taints are given to the Node at its registration.
	Labels map[string]string `json:"labels,omitempty"`
	Taints []corev1.Taint    `json:"taints,omitempty"`
	// MaxPods is how many pods may run here, 110 by default.
	MaxPods int64 `json:"maxPods,omitempty"`
	// Reserved is kept back from the machine's capacity for what is not a pod.
	Reserved corev1.ResourceList `json:"reserved,omitempty"`
	// Capacity overrides what was found out about the machine.
	Capacity corev1.ResourceList `json:"capacity,omitempty"`
	// KubeletDir holds pods' volumes, /var/lib/kubelet by default: vendors hard-code it.
	KubeletDir string `json:"kubeletDir,omitempty"`
	// LogDir holds pods' logs, /var/log/pods by default.
	LogDir string `json:"logDir,omitempty"`
	// CgroupRoot is the cgroup below which kubepods is made.
	CgroupRoot string `json:"cgroupRoot,omitempty"`
	// ClusterDNS are the cluster's DNS servers; without them pods use the machine's.
	ClusterDNS    []string `json:"clusterDNS,omitempty"`
	ClusterDomain string   `json:"clusterDomain,omitempty"`
	// ResolvConf is the machine's resolver configuration, /etc/resolv.conf by default.
	ResolvConf string `json:"resolvConf,omitempty"`
	// Address and Port are where the HTTPS server listens: all addresses and 10250 by default. A negative port means
	// that there is no server.
	Address string `json:"address,omitempty"`
	Port    int32  `json:"port,omitempty"`
	// NeedPodCIDR keeps the node from being ready before it was given a pod range.
	NeedPodCIDR bool `json:"needPodCIDR,omitempty"`
	// AuditPeriod is how often what runs is compared with what is known, one minute by default.
	AuditPeriod time.Duration `json:"auditPeriod,omitempty"`
	// StaticPodPath is a folder of manifests of pods that run here whatever the API says; empty for none.
	StaticPodPath string `json:"staticPodPath,omitempty"`
	// Hollow makes a node that touches nothing of the machine: no directories, mounts, cgroups, logs or server. Its
	// runtimes must be fakes.
	Hollow bool `json:"hollow,omitempty"`
	// NoEviction turns off eviction and image collection under pressure.
	NoEviction bool `json:"noEviction,omitempty"`
	// Version is what the node reports as its kubelet version.
	Version string `json:"version,omitempty"`
}

// defaulted returns the configuration with its defaults filled in.
func (c Config) defaulted() Config {
	set := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	set(&c.KubeletDir, "/var/lib/kubelet")
	set(&c.LogDir, "/var/log/pods")
	set(&c.ClusterDomain, "cluster.local")
	set(&c.ResolvConf, "/etc/resolv.conf")
	set(&c.Version, "v1.37.2+gantry")
	if c.Hostname == "" {
		if c.Hostname, _ = os.Hostname(); c.Hostname == "" || c.Hollow {
			c.Hostname = c.NodeName
		}
	}
	if c.MaxPods == 0 {
		c.MaxPods = 110
	}
	if c.Port == 0 {
		c.Port = 10250
	}
	if c.AuditPeriod == 0 {
		c.AuditPeriod = time.Minute
	}
	return c
}
