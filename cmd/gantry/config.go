package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/gantryio/gantry/core/apiserver/auditlog"
	"github.com/gantryio/gantry/core/auth/oidc"
)

// dataEnv names the folder that all state is under.
const dataEnv = "GANTRY_DATA"

const (
	defaultPodRange     = "10.244.0.0/16"
	defaultServiceRange = "10.96.0.0/16"
)

// config is what the commands that run parts have in common.
type config struct {
	dnsConfig
	data          string
	listen        string
	advertise     string
	apiPort       int32
	etcdEndpoints []string
	etcdCA        string
	etcdCert      string
	etcdKey       string
	podRange      string
	serviceRange  string
	nodeName      string
	staticPods    string
	agentPort     int32
	// maxInflight and maxMutating add up to how many requests are executed at a time; 0 is the server's default.
	maxInflight, maxMutating int
	// oidc says which issuers' tokens are taken.
	oidc oidc.Flags
	// admissionConfig is the path of a file, "" for kube-apiserver's defaults.
	admissionConfig string
	// audit says what is recorded of requests, and where.
	audit auditlog.Flags
	// schedulerConfig is the path of a file, "" for kube-scheduler's defaults.
	schedulerConfig string
	// requireVerified refuses plugins that are neither shipped nor verified.
	requireVerified bool
}

func defaultData() string {
	if dir := os.Getenv(dataEnv); dir != "" {
		return dir
	}
	return systemData
}

func (c *config) addFlags(f *pflag.FlagSet) {
	f.StringVar(&c.data, "data", defaultData(), "folder of all state; the default is $"+dataEnv+" if that is set")
	f.StringVar(&c.listen, "listen", "0.0.0.0", "address that the API listens on")
	f.Int32Var(&c.apiPort, "port", 6443, "port of the API")
	f.StringVar(&c.advertise, "advertise", "", "address at which others reach the API; found out when empty")
	f.StringSliceVar(&c.etcdEndpoints, "etcd-endpoints", nil, "URLs of an external etcd in place of the embedded one")
	f.StringVar(&c.etcdCA, "etcd-ca", "", "file with the authority of the external etcd")
	f.StringVar(&c.etcdCert, "etcd-cert", "", "file with the client certificate for the external etcd")
	f.StringVar(&c.etcdKey, "etcd-key", "", "file with the client key for the external etcd")
	f.StringVar(&c.podRange, "pod-range", defaultPodRange, "IPv4 range of the pods; each node gets a /24 of it")
	f.StringVar(&c.serviceRange, "service-range", defaultServiceRange, "IPv4 range of the cluster IPs")
	f.Int32Var(&c.agentPort, "agent-port", 10250, "port of the agent's HTTPS server")
	f.IntVar(&c.maxInflight, "max-requests-inflight", 0, "with --max-mutating-requests-inflight, how many API requests are executed at a time, which priority levels share out; 32 for each CPU when both are 0")
	f.IntVar(&c.maxMutating, "max-mutating-requests-inflight", 0, "see --max-requests-inflight, to which it is added")
	c.oidc.Add(f)
	c.audit.Add(f)
	f.StringVar(&c.admissionConfig, "admission-control-config-file", "", "file with an AdmissionConfiguration (apiserver.config.k8s.io/v1), which may configure the plugin PodSecurity")
	f.StringVar(&c.schedulerConfig, "scheduler-config", "", "file with a KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1)")
	f.BoolVar(&c.requireVerified, "require-verified-plugins", false, "refuse plugins that Gantry does not ship and `gantry plugin verify --report` has not passed")
	f.StringVar(&c.staticPods, "static-pod-path", "", "folder of manifests of pods that run on this node whatever the API says")
	c.addDNSFlags(f)
	f.StringVar(&c.nodeName, "node-name", "", "name of this node; the host's when empty")
}

func (c *config) path(parts ...string) string {
	return filepath.Join(append([]string{c.data}, parts...)...)
}

// complete checks the flags and fills what was left out.
func (c *config) complete() error {
	var err error
	if c.data, err = filepath.Abs(c.data); err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	defaults := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	defaults(&c.podRange, defaultPodRange)
	defaults(&c.serviceRange, defaultServiceRange)
	for flag, text := range map[string]string{"--pod-range": c.podRange, "--service-range": c.serviceRange} {
		p, err := netip.ParsePrefix(text)
		if err != nil || !p.Addr().Is4() {
			return fmt.Errorf("%s: %q is no IPv4 range such as 10.0.0.0/16", flag, text)
		}
	}
	if err := c.completeDNS(); err != nil {
		return err
	}
	if c.nodeName == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("find the node's name: %w", err)
		}
		c.nodeName = strings.ToLower(host)
	}
	return nil
}

// requestsInFlight is how many API requests are executed at a time.
func (c *config) requestsInFlight() (int, error) {
	if c.maxInflight < 0 || c.maxMutating < 0 {
		return 0, fmt.Errorf("--max-requests-inflight and --max-mutating-requests-inflight must not be negative, have %d and %d", c.maxInflight, c.maxMutating)
	}
	return c.maxInflight + c.maxMutating, nil
}
