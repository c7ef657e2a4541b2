package sandbox

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// mode is CRI's NamespaceMode.
type mode uint64

const node mode = 2 // the machine's own namespace

// config is what a sandbox needs to know of CRI's PodSandboxConfig.
type config struct {
	hostname     string
	cgroup       string // the pod's, in which those of its containers are
	network, ipc mode
	sysctls      map[string]string
}

// The numbers of CRI's fields (k8s.io/cri-api, api.proto). Each shim is a process, and the generated types would cost each
// of them some milliseconds and a megabyte.
const (
	sandboxHostname   = 2
	sandboxLinux      = 8
	linuxCgroup       = 1
	linuxSecurity     = 2
	linuxSysctls      = 3
	securityNamespace = 1
	namespaceNetwork  = 1
	namespaceIPC      = 3
	entryKey          = 1
	entryValue        = 2
)

// parse reads a PodSandboxConfig. What it does not need it skips, as protobuf wants it of fields that are not known.
func parse(raw []byte) (config, error) {
	c := config{sysctls: map[string]string{}}
	err := fields(raw, func(n protowire.Number, _ uint64, b []byte) error {
		switch n {
		case sandboxHostname:
			c.hostname = string(b)
		case sandboxLinux:
			return c.parseLinux(b)
		}
		return nil
	})
	if err != nil {
		return config{}, fmt.Errorf("read the sandbox's configuration: %w", err)
	}
	return c, nil
}

func (c *config) parseLinux(raw []byte) error {
	return fields(raw, func(n protowire.Number, _ uint64, b []byte) error {
		switch n {
		case linuxCgroup:
			c.cgroup = string(b)
		case linuxSecurity:
			return fields(b, func(n protowire.Number, _ uint64, b []byte) error {
				if n != securityNamespace {
					return nil
				}
				return c.parseNamespaces(b)
			})
		case linuxSysctls:
			var entry [entryValue + 1]string
			err := fields(b, func(n protowire.Number, _ uint64, b []byte) error {
				if n == entryKey || n == entryValue {
					entry[n] = string(b)
				}
				return nil
			})
			c.sysctls[entry[entryKey]] = entry[entryValue]
			return err
		}
		return nil
	})
}

func (c *config) parseNamespaces(raw []byte) error {
	return fields(raw, func(n protowire.Number, v uint64, _ []byte) error {
		switch n {
		case namespaceNetwork:
			c.network = mode(v)
		case namespaceIPC:
			c.ipc = mode(v)
		}
		return nil
	})
}

// fields calls f with each field of a message: with its number or with its bytes, whichever it has.
func fields(raw []byte, f func(n protowire.Number, v uint64, b []byte) error) error {
	for len(raw) > 0 {
		n, kind, size := protowire.ConsumeTag(raw)
		if size < 0 {
			return protowire.ParseError(size)
		}
		raw = raw[size:]
		var v uint64
		var b []byte
		switch kind {
		case protowire.VarintType:
			v, size = protowire.ConsumeVarint(raw)
		case protowire.BytesType:
			b, size = protowire.ConsumeBytes(raw)
		default:
			size = protowire.ConsumeFieldValue(n, kind, raw)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		raw = raw[size:]
		if err := f(n, v, b); err != nil {
			return err
		}
	}
	return nil
}
