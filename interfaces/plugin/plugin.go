// Package plugin is what every plugin and the plugin host share: who a plugin is, how it is configured,
// how it serves, and which errors cross the wire with their meaning kept. It exists so that a plugin
// author needs one call to Serve and nothing else of Gantry.
package plugin

import (
	"context"
	"os"
	"strings"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/gantryio/gantry/interfaces/plugin/cgroup"
)

// Kind is the contract a plugin fulfils.
type Kind string

// The kinds, each a folder under interfaces.
const (
	Runtime   Kind = "runtime"
	Network   Kind = "network"
	Service   Kind = "service"
	Scheduler Kind = "scheduler"
)

// Info says what a plugin is.
type Info struct {
	Kind    Kind
	Name    string
	Version string
	// Handlers are the RuntimeClass handlers a runtime plugin serves besides its own name.
	Handlers []string
}

// Protocol is the version of the wire between host and plugins. A plugin of another version is refused.
const Protocol = 1

// Handshake is what host and plugin must agree on before they talk. It is no secret: it only keeps a
// person from starting a plugin by hand.
var Handshake = goplugin.HandshakeConfig{
	ProtocolVersion:  Protocol,
	MagicCookieKey:   "GANTRY_PLUGIN",
	MagicCookieValue: "gantry-plugin-v1",
}

// ConfigVariable names the environment variable with the path of the plugin's JSON configuration.
const ConfigVariable = "GANTRY_PLUGIN_CONFIG"

// ProblemVariable names the environment variable with the path of a file into which a plugin that cannot serve writes
// why, for people.
const ProblemVariable = "GANTRY_PLUGIN_PROBLEM"

// Window is how many bytes may be on their way on a connection of a plugin before they are read. It is fixed, because gRPC
// otherwise measures the way with a ping for each message, which costs a call on a unix socket a good part of its time.
const Window = 4 << 20

// CPUsVariable names the environment variable with the number of CPUs that the plugin's limit comes to, rounded up; without a
// limit it is not set. It is not meant for what the plugin starts.
const CPUsVariable = "GANTRY_PLUGIN_CPUS"

// SupervisedVariable names the environment variable with the cgroup directories, parted by colons, for what a plugin
// supervises: the plugin's own limits are not meant for that.
const SupervisedVariable = "GANTRY_PLUGIN_SUPERVISED"

// Supervised tells that a process is not the plugin's own work but what it supervises, so that it does not count against
// the plugin's limits. It has to be called before that process starts others.
func Supervised(pid int) error {
	dirs := os.Getenv(SupervisedVariable)
	if dirs == "" {
		return nil
	}
	return cgroup.Enter(strings.Split(dirs, ":"), pid)
}

// NothingToStop is the key of the trailer with which a plugin that is no Stopper answers Lifecycle.Stop.
const NothingToStop = "gantry-nothing-to-stop"

// Stopper is an optional power: a plugin that supervises things on the machine takes them down when the
// node goes down. Stop is idempotent and is not called when only the plugin's process is replaced.
type Stopper interface {
	Stop(ctx context.Context) error
}

// Condition is how a plugin is.
type Condition struct {
	// Problem is why it cannot work; empty when it can.
	Problem string
	// Handlers are the RuntimeClass handlers it has found, besides those of its Info.
	Handlers []string
}

// Reporter is an optional power of a plugin that depends on what it does not run itself. Report tells how the plugin is,
// at once and whenever that changes, until ctx ends or tell fails.
type Reporter interface {
	Report(ctx context.Context, tell func(Condition) error) error
}

// Passage is a socket of somebody else, and which calls a plugin passes on to it unread: those whose full names begin with
// Prefix, but for those in Except.
type Passage struct {
	Socket, Prefix string
	Except         []string
}

// Passer is an optional power of a plugin that passes calls on unread. Its host may make these calls at the socket itself while
// somebody of the host's own user listens there, which spares them the way through the plugin; at all other times they come to
// the plugin. It is asked once, before the first call.
type Passer interface {
	Passage() Passage
}

// ServerOptions is an optional power: a plugin may add options to the gRPC server that serves it.
type ServerOptions interface {
	ServerOptions() []grpc.ServerOption
}
